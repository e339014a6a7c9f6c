"""Four ways to name a query by a gallery of labelled embeddings, from one blocked matrix product.

    accuracy_individual   label of the gallery item with the highest cosine similarity
    accuracy_avg          label with the highest mean cosine similarity over its items
    distance_individual   label of the gallery item with the lowest Euclidean distance
    distance_avg          label with the lowest mean Euclidean distance over its items

All four come from the products q.g: cos = q.g / |q||g| and |q - g|^2 = |q|^2 + |g|^2 - 2 q.g, taken a tile of queries
and gallery at a time that fits a processor's cache. Decisions between candidates that float32 cannot tell apart are made
in float64; what float64 cannot tell apart is a tie, and goes to the label that sorts first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cladeclip.evaluation.best_items import BestItems, Scores, Settle
from cladeclip.evaluation.gallery import Gallery, squared_norms
from cladeclip.evaluation.rounding import FLOAT32, FLOAT64, first_highest, rounding
from cladeclip.tables import MEASURES

if TYPE_CHECKING:
    import torch

# Queries and gallery items of a tile: 8 MiB of products. Sums and maxima are taken over groups of a tile's items.
QUERIES, TILE, GROUP = 2048, 1024, 128
# Sums of distances, a row a query and a column a label, take at most this much.
SUMS_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Predictions:
    """For each of q queries, the label that each column predicts, and the nearest gallery item by cosine.

    Attributes:
        accuracy_individual, accuracy_avg, distance_individual, distance_avg: (q,) labels.
        nearest: (q,) int64, row of the gallery.
        nearest_cosine: (q,) float64.
    """

    accuracy_individual: np.ndarray
    accuracy_avg: np.ndarray
    distance_individual: np.ndarray
    distance_avg: np.ndarray
    nearest: np.ndarray
    nearest_cosine: np.ndarray


@dataclass(frozen=True)
class Accuracies:
    """Shares of queries whose predicted label is right, as fractions."""

    accuracy_individual: float
    accuracy_avg: float
    distance_individual: float
    distance_avg: float


COLUMNS = MEASURES


def nearest_label_accuracy(
    query: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray
) -> Accuracies:
    """The four accuracies of queries (q, d) against a gallery (g, d); a label absent from the gallery counts as wrong.

    Raises:
        ValueError: shapes do not go together, or there is no query or no gallery.
    """
    predicted = predict_labels(query, gallery, gallery_labels)
    truth = np.asarray(query_labels)
    if len(truth) != len(query):
        raise ValueError(f"{len(query)} queries, but {len(truth)} query labels.")
    return Accuracies(**{column: float((getattr(predicted, column) == truth).mean()) for column in COLUMNS})


def predict_labels(query: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray) -> Predictions:
    """Names every query (q, d) by the gallery (g, d) and its labels (g,), in all four ways.

    A zero vector has cosine 0 with everything. Beside the inputs it takes memory for a tile and for a mean vector a label.

    Raises:
        ValueError: shapes do not go together, there is no query or no gallery, or a value is not finite.
    """
    query, gallery = np.asarray(query, dtype=np.float32), np.asarray(gallery, dtype=np.float32)
    labels = np.asarray(gallery_labels)
    _check_shapes(query, gallery, labels)
    squares, gallery_squares = squared_norms(query), squared_norms(gallery)
    if not (np.isfinite(squares).all() and np.isfinite(gallery_squares).all()):
        raise ValueError("queries or gallery hold NaN or infinity.")
    items = Gallery(gallery, labels, gallery_squares)
    # Sums of distances from every label are kept for so many queries at once.
    chunk = max(1, SUMS_BYTES // (8 * len(items.labels)))
    pieces = [slice(start, start + chunk) for start in range(0, len(query), chunk)]
    decided = [_decide(query[piece], squares[piece], items) for piece in pieces]
    nearest, cosine, by_mean_cosine, closest, by_mean_distance = map(np.concatenate, zip(*decided, strict=True))
    return Predictions(
        accuracy_individual=items.labels[items.codes[nearest]],
        accuracy_avg=items.labels[by_mean_cosine],
        distance_individual=items.labels[items.codes[closest]],
        distance_avg=items.labels[by_mean_distance],
        nearest=items.order[nearest],
        nearest_cosine=cosine,
    )


def _decide(query: np.ndarray, squares: np.ndarray, gallery: Gallery) -> tuple[np.ndarray, ...]:
    """Answers for queries (m, d) with their squared norms (m,): the position of the nearest item by cosine, that cosine, the
    label by mean cosine, the position of the nearest item by distance, and the label by mean distance.
    """
    import torch  # takes seconds, which readers of tables need not wait for

    asked = _Asked(query, squares, gallery, torch.float32)
    by_cosine = BestItems(2 * asked.error * asked.norms, GROUP, asked.norms > 0)
    by_distance = BestItems(2 * asked.error_of_squares, GROUP, asked.norms >= 0)
    sums = torch.zeros(len(gallery.labels), len(query), dtype=torch.float64)
    directions = torch.zeros(len(gallery.labels), query.shape[1], dtype=torch.float64)
    for tile in _tiles(gallery, asked.scale, torch.float32):
        tile.add_directions(directions)
        for where in asked.blocks():
            products = asked.products(where, tile)
            groups = products.view(len(products), -1, GROUP)
            by_cosine.add(where.start, tile.first_group, groups.amax(2))
            tile.squared_distances(products, asked.squares[where])
            least = groups.amin(2)
            by_distance.add(where.start, tile.first_group, -least)
            if least.min() < 0.0:  # by rounding
                products.clamp_(min=0.0)
            tile.add_distances(groups, sums[:, where])
    exact, norms = asked.exact, np.sqrt(asked.exact_squares)
    d = query.shape[1]

    def nearest_of(i: int, positions: np.ndarray) -> int:
        return first_highest(gallery.cosines(exact[i], positions), d, norms[i])

    def closest_of(i: int, positions: np.ndarray) -> int:
        squares = gallery.squared_distances(exact[i], positions)
        return first_highest(-squares, d, squares.min())

    def most_alike_of(i: int, codes: np.ndarray) -> int:
        return first_highest(gallery.mean_cosines(exact[i], codes), d, norms[i])

    nearest = by_cosine.positions(gallery, _cosines(asked, gallery), nearest_of)
    closest = by_distance.positions(gallery, _distances(asked, gallery), closest_of)
    means = (directions / torch.from_numpy(gallery.sizes)[:, None]).float()
    slack = by_cosine.slack + 2 * rounding(GROUP, FLOAT32) * asked.norms
    by_mean_cosine = _highest((asked.vectors @ means.T).numpy(), slack.numpy(), most_alike_of)
    by_mean_distance = _lowest_mean_distance(query, gallery, sums, asked, -by_distance.best)
    cosine = np.einsum("nd,nd->n", exact, gallery.rows(nearest)) * gallery.inverse[nearest]
    return nearest, cosine / np.where(norms > 0, norms, 1.0), by_mean_cosine, closest, by_mean_distance


class _Asked:
    """Queries (m, d) in one arithmetic, scaled by a power of two so that no square leaves its range: not a bit changes.

    Attributes:
        exact, exact_squares: (m, d), (m,) float64, not scaled.
        scale: the factor, for the gallery as well.
        vectors, norms, squares: (m, d), (m,), (m,), scaled.
        unit: unit roundoff.
        error: of a cosine, relative to |q|.
        error_of_squares: (m,), of a squared distance, scaled.
    """

    def __init__(self, query: np.ndarray, squares: np.ndarray, gallery: Gallery, dtype: "torch.dtype") -> None:
        import torch

        self.exact, self.exact_squares = query.astype(np.float64), squares
        longest = gallery.norms.max()
        self.scale = 2.0 ** -int(np.frexp(max(longest, np.sqrt(self.exact_squares.max())))[1])
        self.vectors = torch.from_numpy(query).to(dtype) * self.scale
        scaled = torch.from_numpy(squares) * self.scale**2
        self.unit = FLOAT64 if dtype == torch.float64 else FLOAT32
        self.error = rounding(query.shape[1], self.unit)
        self.error_of_squares = (self.error * (scaled + (longest * self.scale) ** 2)).to(dtype)
        self.squares, self.norms = scaled.to(dtype), scaled.sqrt().to(dtype)
        self._buffer = torch.empty(min(QUERIES, len(query)) * TILE, dtype=dtype)

    def products(self, where: slice, tile: "_Tile") -> "torch.Tensor":
        """Products (m, w) of some queries and the tile's unit vectors, in memory that the next call takes again."""
        import torch

        queries = self.vectors[where]
        shape = len(queries), len(tile.units)
        return torch.mm(queries, tile.units.T, out=self._buffer[: shape[0] * shape[1]].view(shape))

    def exact_products(self, members: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Products (m, w) float64 of some queries and gallery items (w, d)."""
        import torch

        asked = torch.from_numpy(self.exact).index_select(0, torch.from_numpy(members))
        return (asked @ torch.from_numpy(rows).T).numpy()

    def blocks(self) -> Iterator[slice]:
        for start in range(0, len(self.vectors), QUERIES):
            yield slice(start, start + QUERIES)


class _Tile:
    """Some gallery items in a row, in one arithmetic. The last one stands there again until a group is full.

    Attributes:
        units: (w, d) unit vectors. norms, squares: (w,), |g| and |g|^2, scaled.
        labels: for each group of GROUP items the slice of its labels.
        weights: (groups, labels, GROUP), 1 where an item counts for a label.
    """

    def __init__(self, gallery: Gallery, start: int, scale: float, dtype: "torch.dtype") -> None:
        import torch

        self.first_group = start // GROUP
        stop = min(start + TILE, len(gallery))
        positions = np.minimum(np.arange(start, start + -(-(stop - start) // GROUP) * GROUP), stop - 1)
        norms = torch.from_numpy(gallery.norms[positions] * scale)
        self.norms, self.squares = norms.to(dtype), (norms**2).to(dtype)
        inverse = torch.from_numpy(gallery.inverse[positions])
        items = torch.from_numpy(gallery.items).index_select(0, torch.from_numpy(gallery.order[positions]))
        self.units = items * inverse[:, None].to(dtype)
        codes = gallery.codes[positions].reshape(-1, GROUP)
        self.labels = [slice(of_group[0], of_group[-1] + 1) for of_group in codes]
        columns = codes - codes[:, :1]
        weights = torch.zeros(len(codes), int(columns.max()) + 1, GROUP, dtype=dtype)
        weights.scatter_(1, torch.from_numpy(columns)[:, None], 1.0)
        weights[-1, :, GROUP - (len(positions) - (stop - start)) :] = 0.0
        self.weights = weights

    def squared_distances(self, products: "torch.Tensor", squares: "torch.Tensor") -> None:
        """Turns products (m, w) of queries and unit vectors into squared distances, in place."""
        import torch

        torch.addcmul(self.squares, products, self.norms, value=-2.0, out=products)
        products.add_(squares[:, None])

    def add_distances(self, squared: "torch.Tensor", sums: "torch.Tensor") -> None:
        """Adds distances to the sums (C, m) of the items' labels; squared (m, groups, GROUP) is lost."""
        import torch

        distances = squared.sqrt_()
        for labels, found in zip(self.labels, torch.bmm(self.weights, distances.permute(1, 2, 0)), strict=True):
            sums[labels] += found[: labels.stop - labels.start]

    def add_directions(self, sums: "torch.Tensor") -> None:
        """Adds unit vectors to the sums (C, d) of the items' labels."""
        import torch

        units = self.units.view(len(self.labels), GROUP, -1)
        for labels, found in zip(self.labels, torch.bmm(self.weights, units), strict=True):
            sums[labels] += found[: labels.stop - labels.start]


def _tiles(gallery: Gallery, scale: float, dtype: "torch.dtype") -> Iterator[_Tile]:
    for start in range(0, len(gallery), TILE):
        yield _Tile(gallery, start, scale, dtype)


def _cosines(asked: _Asked, gallery: Gallery) -> Scores:
    error = rounding(asked.exact.shape[1], FLOAT64) * np.sqrt(asked.exact_squares)

    def scores(members: np.ndarray, here: slice) -> tuple[np.ndarray, np.ndarray]:
        return asked.exact_products(members, gallery.rows(here)) * gallery.inverse[here], error[members]

    return scores


def _distances(asked: _Asked, gallery: Gallery) -> Scores:
    error = rounding(asked.exact.shape[1], FLOAT64) * (asked.exact_squares + gallery.norms.max() ** 2)

    def scores(members: np.ndarray, here: slice) -> tuple[np.ndarray, np.ndarray]:
        return 2.0 * asked.exact_products(members, gallery.rows(here)) - gallery.norms[here] ** 2, error[members]

    return scores


def _highest(scores: np.ndarray, slack: np.ndarray, settle: Settle) -> np.ndarray:
    """Column (m,) of the highest score (m, c); `settle` decides between those within `slack` (m,) of the highest."""
    best = scores.argmax(axis=1)
    near = scores >= (scores[np.arange(len(scores)), best] - slack)[:, None]
    for i in np.flatnonzero(near.sum(axis=1) > 1):
        candidates = np.flatnonzero(near[i])
        best[i] = candidates[settle(int(i), candidates)]
    return best


def _lowest_mean_distance(
    query: np.ndarray, gallery: Gallery, sums: "torch.Tensor", asked: _Asked, least: "torch.Tensor"
) -> np.ndarray:
    """The label (m,) whose items lie closest on average: from sums in float32 where they tell, then in float64.

    Args:
        least: (m,) squared distance of each query's closest item.
    """
    import torch

    means = sums.div_(torch.from_numpy(gallery.sizes)[:, None])
    lowest = means.amin(0)
    query_number, label = torch.nonzero((means <= lowest + _slack_of_means(lowest, asked, least)).T, as_tuple=True)
    number, counts = np.unique(query_number.numpy(), return_counts=True)
    best = label.numpy()[counts.cumsum() - counts]
    unsure = number[counts > 1]
    if len(unsure) == 0:
        return best
    again = _Asked(query[unsure], asked.exact_squares[unsure], gallery, torch.float64)
    sums = torch.zeros(len(gallery.labels), len(unsure), dtype=torch.float64)
    for tile in _tiles(gallery, again.scale, torch.float64):
        for where in again.blocks():
            products = again.products(where, tile)
            tile.squared_distances(products, again.squares[where])
            products.clamp_(min=0.0)
            tile.add_distances(products.view(len(products), -1, GROUP), sums[:, where])
    means = sums / torch.from_numpy(gallery.sizes)[:, None]
    least = (least - asked.error_of_squares)[unsure].double() * (again.scale / asked.scale) ** 2
    slack = _slack_of_means(means.amin(0), again, least)

    def closest_of(i: int, codes: np.ndarray) -> int:
        distances = gallery.mean_distances(again.exact[i], codes)
        return first_highest(-distances, query.shape[1], distances.min())

    best[unsure] = _highest(-means.T.numpy(), slack.numpy(), closest_of)
    return best


def _slack_of_means(lowest: "torch.Tensor", asked: _Asked, least: "torch.Tensor") -> "torch.Tensor":
    """Twice the error (m,) of mean distances near the `lowest` (m,), when no squared distance is below `least` (m,)."""
    import torch

    # |sqrt(s + e) - sqrt(s)| is at most e / sqrt(s), and at most sqrt(e).
    error = asked.error_of_squares
    of_root = torch.minimum(error.sqrt(), error / (least - error).clamp(min=0.0).sqrt())
    return 2 * of_root + 2 * rounding(GROUP, asked.unit) * lowest


def _check_shapes(query: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> None:
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries {query.shape} and gallery {gallery.shape} must be (q, d) and (g, d).")
    if len(query) == 0 or len(gallery) == 0:
        raise ValueError(f"{len(query)} queries and {len(gallery)} gallery items: at least one of each is needed.")
    if len(labels) != len(gallery):
        raise ValueError(f"{len(gallery)} gallery items, but {len(labels)} gallery labels.")
