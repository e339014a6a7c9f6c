"""One search for all measures of a model: every rank, category and draw of queries reads scores that are computed once.

What differs by less than TIE is a tie: the label that sorts first is taken, and of neighbours the one that comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cladeclip.evaluation.measures import MEASURES, RETRIEVED, WIDTH, Ranked
from cladeclip.evaluation.protocol import Subset
from cladeclip.evaluation.scores import NONE, Block, Neighbours, Points, first_in_order, places
from cladeclip.run.progress import progress

# Scores that are closer than this, relative to their scale, are equal.
TIE = 1e-12
# Neighbours that are looked at first; where they do not decide, four times as many, and so on.
LOOK = 64
# Arrays of at most so many numbers stay in a processor's cache.
CACHED = 2**19
# Numbers of nearest items that vote: k of k-NN.
VOTERS = (1, 5, 20)
WEIGHTINGS = ("majority", "similarity")


@dataclass(frozen=True)
class Answers:
    """What was found for one subset; rows are those of the data set.

    Attributes:
        labels: by MEASURES, (q,): the label of the gallery item with the highest cosine; the label with the highest mean
            cosine over its items; and the same two by lowest Euclidean distance.
        nearest: (q,) the gallery item with the highest cosine, of the label that sorts first.
        neighbours, cosines: (q, k) the gallery items with the highest cosines, the highest first, and these. k is the
            largest of VOTERS, or as many as there are; for draws it is 1.
        votes: by k and weighting, (q,): the label with the most votes of the k nearest, or with the highest sum of cosines.
        retrieval: (a, len(RETRIEVED)) of each leave-one-out query; NaN for singleton classes.
    """

    labels: dict[str, np.ndarray]
    nearest: np.ndarray
    neighbours: np.ndarray
    cosines: np.ndarray
    votes: dict[tuple[int, str], np.ndarray]
    retrieval: np.ndarray


def search(
    embeddings: np.ndarray,
    subsets: Sequence[Subset],
    draws: Sequence[Subset] = (),
    *,
    device: str | torch.device = "cpu",
) -> list[Answers]:
    """Answers for each of `subsets`, then for each of `draws`: of these the four labels alone, no votes and no retrieval.

    Args:
        embeddings: (n, d), the rows that the subsets index.

    Raises:
        ValueError: the embeddings are not (n, d), or not finite; or a subset has no query or no gallery.
    """
    everyone = [*subsets, *draws]
    found = sorted({subset.found.tobytes(): subset.found for subset in everyone}.values(), key=len)
    points = Points(embeddings, np.unique(np.concatenate(found)), device, together=found)
    ranks = [_Rank(subset, points, labels_only=i >= len(subsets)) for i, subset in enumerate(everyone)]
    codes = [(rank.codes[points.columns], len(rank.labels)) for rank in ranks]
    for rank, centroids in zip(ranks, points.centroids(codes), strict=True):
        rank.centroids = centroids
    universes = [
        _Universe([rank for rank in ranks if np.array_equal(rank.subset.found, rows)], points) for rows in found
    ]
    rows = np.flatnonzero(np.any([rank.asks.cpu().numpy() for rank in ranks], axis=0))
    # Rows are sorted by number of matches: a block needs no more sorted neighbours than its largest class has items.
    rows = rows[np.lexsort([-rank.matches[rows].cpu().numpy() for rank in ranks])]
    with progress(total=len(rows), desc="searching", unit="pictures") as bar:
        for block in points.blocks(rows):
            # The largest comes last: it may put keys in another order.
            for universe in universes:
                universe.read(block)
            bar.update(len(block.rows))
    return [rank.answers() for rank in ranks]


def nearest(
    queries: np.ndarray, gallery: np.ndarray, k: int, *, device: str | torch.device = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (q, k) int64 of the gallery (g, d) with the highest cosines to each query (q, d), highest first, and the cosines.

    Raises:
        ValueError: k is not between 1 and g, or a value is not finite.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(f"{k} nearest of {len(gallery)}: between 1 and {len(gallery)} can be asked for.")
    n_queries = len(queries)
    points = Points(np.concatenate([queries, gallery]), np.arange(n_queries, n_queries + len(gallery)), device)
    rows, cosines = np.empty((n_queries, k), np.int64), np.empty((n_queries, k))
    for block in points.blocks(np.arange(n_queries)):
        keys, here = first_in_order(block.keys, k), block.rows.cpu().numpy()
        rows[here], cosines[here] = block.items(keys).cpu(), block.cosines(keys).cpu()
    return rows, cosines


class _Rank:
    """A subset, its names as numbers, and what was found for it.

    Attributes:
        labels: (c,) in order.
        numbers: (n,) int32, number of each row's label. numbers_of_items: (w,) the items'.
        codes: (w,) int64, number of each gallery item's label; c for other items.
        keys: (w,) int64. Of gallery items that tie the lowest is taken: the label that sorts first, then the place.
        asks: (n,) bool, whether a row is a query or asked.
        matches: (n,) int32, for each of those asked how many others have its label.
        centroids: see `Points.centroids`.
    """

    centroids: Tensor

    def __init__(self, subset: Subset, points: Points, *, labels_only: bool) -> None:
        if len(subset.query) == 0 or len(subset.gallery) == 0:
            raise ValueError(
                f"{len(subset.query)} queries and {len(subset.gallery)} gallery items: at least one of each is needed."
            )
        self.subset, self._items = subset, points.items
        of_found, self.labels = pd.factorize(subset.names[subset.found], sort=True)
        numbers = places(subset.found, len(points))
        numbers[subset.found] = of_found
        n, n_items, n_labels = len(points), len(points.items), len(self.labels)
        asked = subset.asked[: 0 if labels_only else None]
        matches = np.zeros(n, dtype=np.int32)
        matches[asked] = np.bincount(of_found)[numbers[asked]] - 1
        self.asked, self.matches = points.on_device(places(asked, n).astype(np.int32)), points.on_device(matches)
        self.asks = (self.asked >= 0) | (points.on_device(places(subset.query, n)) >= 0)
        self.numbers = points.on_device(numbers.astype(np.int32))
        self.numbers_of_items = self.numbers[points.items]
        gallery = points.place[points.on_device(subset.gallery)]
        self.codes = torch.full((n_items,), n_labels, device=points.device)
        self.codes[gallery] = self.numbers_of_items[gallery].long()
        self.keys = torch.full((n_items,), NONE, device=points.device)
        self.keys[gallery] = self.codes[gallery] * n_items + gallery
        self.sizes = torch.bincount(self.codes, minlength=n_labels + 1)[:n_labels]
        self.k = 1 if labels_only else min(max(VOTERS), len(gallery))
        self._votes = [] if labels_only else [(k, weighting) for k in VOTERS for weighting in WEIGHTINGS]
        self._found: dict[str | tuple[int, str], Tensor] = {}
        shape = len(asked), len(RETRIEVED)
        self._retrieval = torch.full(shape, torch.nan, dtype=torch.float64, device=points.device)

    def _keep(self, name: str | tuple[int, str], place: Tensor, values: Tensor) -> None:
        if name not in self._found:
            self._found[name] = values.new_empty(len(self.subset.query), *values.shape[1:])
        self._found[name][place] = values

    def name(self, place: Tensor, most_alike: Tensor, closest: Tensor, mean_cosines: Tensor, sums: Tensor) -> None:
        """Stores results of queries (m,): keys (m,) by cosine and by distance, mean cosines and sums of distances (m, c)."""
        # A label without an item has NaN.
        mean_cosines, mean_distances = mean_cosines.nan_to_num(-torch.inf), (sums / self.sizes).nan_to_num(torch.inf)
        slack = TIE * mean_distances.amin(1, keepdim=True)
        n_items = len(self._items)
        labels = most_alike // n_items, _first(mean_cosines, TIE), closest // n_items, _first(-mean_distances, slack)
        for measure, label in zip(MEASURES, labels, strict=True):
            self._keep(measure, place, label)
        self._keep("nearest", place, most_alike % n_items)

    def vote(self, place: Tensor, neighbours: Tensor, cosines: Tensor) -> None:
        """Takes the nearest items (m, k) of queries (m,) and their cosines (m, k)."""
        self._keep("neighbours", place, neighbours)
        self._keep("cosines", place, cosines)
        for k, weighting in self._votes:
            codes, of_k = self.codes.take(neighbours[:, :k]), cosines[:, :k]
            weights = of_k if weighting == "similarity" else torch.ones_like(of_k)
            # Labels without a vote are below all others, also where all cosines are negative.
            sums = of_k.new_full((len(codes), len(self.labels)), -torch.inf).scatter_(1, codes, 0.0)
            self._keep((k, weighting), place, _first(sums.scatter_add_(1, codes, weights), TIE * k))

    def retrieve(self, block: Block, near: Neighbours) -> None:
        """Scores the ranked neighbours of leave-one-out queries (m,)."""
        place = self.asked[block.rows].long()
        (asked,) = torch.nonzero((place >= 0) & (self.matches[block.rows] > 0), as_tuple=True)
        if len(asked) == 0:
            return
        width = min(near.n - 1, max(int(self.matches[block.rows[asked]].max()), WIDTH))
        places_in_order = torch.arange(1, width + 1, device=asked.device)
        for some in asked.split(max(1, CACHED // width)):
            rows = block.rows[some]
            items = block.items(near.by_cosine(near.at[some], width))
            relevant = self.numbers_of_items.take(items) == self.numbers[rows, None]
            found = Ranked(relevant, self.matches[rows], places_in_order)
            scores = [measure.of(found).double() for measure in RETRIEVED.values()]
            self._retrieval[place[some]] = torch.stack(scores, dim=1)

    def answers(self) -> Answers:
        found = {name: values.cpu().numpy() for name, values in self._found.items()}
        items = self._items.cpu().numpy()
        labels = self.labels.astype(object)  # as text of one width they take much memory
        return Answers(
            labels={measure: labels[found[measure]] for measure in MEASURES},
            nearest=items[found["nearest"]],
            neighbours=items[found["neighbours"]],
            cosines=found["cosines"],
            votes={vote: labels[found[vote]] for vote in self._votes},
            retrieval=self._retrieval.cpu().numpy(),
        )


class _Universe:
    """The ranks at which the same items can be found."""

    def __init__(self, ranks: Sequence[_Rank], points: Points) -> None:
        found = points.place[points.on_device(ranks[0].subset.found)]
        self._columns = torch.isin(points.columns, found).nonzero()[:, 0]
        self._items = points.columns[self._columns]
        drawn: dict[tuple[bytes, bytes], list[_Rank]] = {}
        for rank in ranks:
            drawn.setdefault((rank.subset.query.tobytes(), rank.subset.gallery.tobytes()), []).append(rank)
        self._ranks, self._draws = ranks, [_Draw(of_draw, self._items, points) for of_draw in drawn.values()]

    def read(self, block: Block) -> None:
        """Stores the results of those rows of the block that are queries here."""
        asks = torch.stack([rank.asks[block.rows] for rank in self._ranks]).any(0)
        if not asks.any():
            return
        ordered = max(LOOK, *(int(rank.matches[block.rows].max()) for rank in self._ranks))
        near = Neighbours(block, asks, self._columns, self._items, ordered)
        for draw in self._draws:
            draw.read(block, near)
        for rank in self._ranks:
            rank.retrieve(block, near)


class _Draw:
    """The ranks that share queries, gallery and what can be found.

    Args:
        items: (u,) int64, what can be found, in the order of columns.
    """

    def __init__(self, ranks: Sequence[_Rank], items: Tensor, points: Points) -> None:
        self.ranks, self._points = ranks, points
        self._query = points.on_device(places(ranks[0].subset.query, len(points)))
        # Distances are summed once for all ranks: over items that have the same labels at all of them.
        codes = pd.DataFrame({i: rank.codes[items].cpu().numpy() for i, rank in enumerate(ranks)})
        alike = codes.groupby(list(codes), sort=False)
        self._codes = points.on_device(alike.ngroup().to_numpy())
        self._alike = points.on_device(codes.drop_duplicates().to_numpy())

    def read(self, block: Block, near: Neighbours) -> None:
        """Stores the results of those rows of the block that are queries of this draw."""
        place = self._query[block.rows]
        (queries,) = torch.nonzero(place >= 0, as_tuple=True)
        if len(queries):
            self._name(block, near, queries, place[queries])

    def _name(self, block: Block, near: Neighbours, queries: Tensor, place: Tensor) -> None:
        at = near.at[queries]
        most_alike = self._by_cosine(block, near, at, place)
        closest = self._by_distance(near, block.rows[queries], at)
        distances = near.distances(at)
        sums = distances.new_zeros(len(at), len(self._alike))
        sums.scatter_add_(1, self._codes.expand(len(at), -1), distances)
        asking = block.asking[queries]
        for i, rank in enumerate(self.ranks):
            of_rank = sums.new_zeros(len(at), len(rank.labels) + 1).index_add_(1, self._alike[:, i], sums)[:, :-1]
            rank.name(place, most_alike[i], closest[i], asking @ rank.centroids.T, of_rank)

    def _by_cosine(self, block: Block, near: Neighbours, at: Tensor, place: Tensor) -> list[Tensor]:
        """The key (m,) of each query's nearest gallery item at each rank; the ranks take the k nearest."""
        width, k = min(LOOK, near.n), max(rank.k for rank in self.ranks)
        while True:
            keys = near.by_cosine(at, width)
            items, cosines = block.items(keys), block.cosines(keys)
            found = [_lowest_key(rank.keys.take(items), -cosines, TIE) for rank in self.ranks]
            inside = self.ranks[0].keys.take(items) < NONE
            number = inside.cumsum(1)
            if width == near.n or bool(torch.stack([number[:, -1] >= k, *(decided for _, decided in found)]).all()):
                break
            width = min(4 * width, near.n)
        nearest = inside & (number <= k)
        for rank in self.ranks:
            rank.vote(place, items[nearest].view(len(at), k), cosines[nearest].view(len(at), k))
        return [key for key, _ in found]

    def _by_distance(self, near: Neighbours, rows: Tensor, at: Tensor) -> list[Tensor]:
        """The key (m,) of each query's closest gallery item at each rank."""
        squares, items = self._points.squares, self._points.items
        width = min(LOOK // 4, near.n)
        while True:
            columns, distances = near.by_distance(at, width)
            outside = self.ranks[0].keys.take(columns) == NONE
            closest = columns.gather(1, distances.masked_fill(outside, torch.inf).argmin(1, keepdim=True))
            slack = TIE * (squares[rows, None] + squares[items[closest]])
            found = [_lowest_key(rank.keys.take(columns), distances.square(), slack) for rank in self.ranks]
            if width == near.n or bool(torch.stack([decided for _, decided in found]).all()):
                return [keys for keys, _ in found]
            width = min(4 * width, near.n)


def _lowest_key(keys: Tensor, costs: Tensor, slack: Tensor | float) -> tuple[Tensor, Tensor]:
    """The lowest key (m,) of those that cost at most slack (m, 1) more than the cheapest, and whether it is final.

    Args:
        keys: (m, c), NONE for what does not count.
        costs: (m, c), ascending. All else costs at least as much as the last.
    """
    limit = costs.where(keys < NONE, torch.inf).amin(1, keepdim=True) + slack
    return keys.where(costs <= limit, NONE).amin(1), costs[:, -1] > limit[:, 0]


def _first(scores: Tensor, slack: Tensor | float) -> Tensor:
    """The first column (m,) of scores (m, c) that is at most slack (m, 1) below the highest."""
    return (scores >= scores.amax(1, keepdim=True) - slack).to(torch.uint8).argmax(1)
