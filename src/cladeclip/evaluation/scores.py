"""Cosines and Euclidean distances of embeddings in float64, a block of rows at a time, and who is nearest by each.

    cosine      = ((q - m).(g - m) + m.(q - m) + m.(g - m) + |m|^2) / |q| |g|
    distance^2  = |q - m|^2 + |g - m|^2 - 2 (q - m).(g - m)

Both come from one matrix product of the embeddings centred at a point m: neither suffers cancellation where all embeddings
are nearly equal, as those of an encoder that is hardly trained. A zero vector has cosine 0 with everything.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

# Products of a block of rows with all items: two arrays of so many float64 or int64 are held, and parts of them.
BLOCK = 12 * 1024 * 1024
# Added to a float64 below 2^50, it leaves the nearest integer in the lowest bits.
ROUNDS = 1.5 * 2**52
# Keys from here on mark excluded items.
NONE = 2**62


class _Buffers:
    """Reused memory: allocating large arrays costs as much as computing with them."""

    def __init__(self, device: str | torch.device) -> None:
        self._device = device
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, int], dtype: torch.dtype = torch.float64) -> Tensor:
        """An uninitialised array; the next one of this name reuses its memory."""
        size = shape[0] * shape[1]
        if name not in self._kept or len(self._kept[name]) < size:
            self._kept[name] = torch.empty(size, dtype=dtype, device=self._device)
        return self._kept[name][:size].view(shape)


@dataclass(frozen=True)
class Block:
    """Some rows and their scores with all items, in the order of `Points.columns`.

    Attributes:
        rows: (b,) int64.
        asking: (b, d + 2), what `Points.centroids` are multiplied with.
        distances: (b, w), infinite for the row itself.
        keys: (b, w) int64, which sort by cosine, highest first, then by place. They may be sorted in place.
        bits: how many low bits of a key hold the item's place.
    """

    rows: Tensor
    asking: Tensor
    distances: Tensor
    keys: Tensor
    bits: int
    buffers: _Buffers

    def items(self, keys: Tensor) -> Tensor:
        """The places of items, by their keys."""
        return keys & (2**self.bits - 1)

    def cosines(self, keys: Tensor) -> Tensor:
        """Cosines by keys, to 2^-46 for up to 32,768 items; the error doubles with each doubling of their number."""
        return (keys >> self.bits).double().mul_(-(2.0 ** (self.bits - 61)))


class Points:
    """Embeddings (n, d), of which w are items: what can be found.

    Attributes:
        items: (w,) int64, their rows, ascending.
        place: (n,) int64, each row's place among the items, -1 if it is none.
        columns: (w,) int64, the items' places in the order in which they lie in memory.
        squares: (n,) squared distances from m.

    Args:
        together: groups of rows, the smaller first, whose items lie side by side where that is possible.

    Raises:
        ValueError: the embeddings are not (n, d), or not finite.
    """

    def __init__(
        self, embeddings: np.ndarray, items: np.ndarray, device: str | torch.device, together: Sequence[np.ndarray] = ()
    ) -> None:
        embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        if embeddings.ndim != 2 or not np.isfinite(embeddings).all():
            raise ValueError(f"embeddings {embeddings.shape} must be (n, d) and hold neither NaN nor infinity.")
        n, self._n_items, self.device = len(embeddings), len(items), device
        columns = np.lexsort([np.isin(items, rows) for rows in together]) if together else np.arange(len(items))
        # In memory: the items in the order of columns, then the other rows.
        in_memory = np.concatenate([items[columns], np.setdiff1d(np.arange(n), items)])
        self.items, self.place = self.on_device(items), self.on_device(places(items, n))
        self.columns, self._lies = self.on_device(columns), self.on_device(np.argsort(in_memory))
        points = self.on_device(embeddings[in_memory]).double()
        middle, self._inverse = centre(points), _inverse_lengths(points)
        self._centred = points.sub_(middle)
        self._along = self._centred @ middle + middle.square().sum() / 2
        self._squares = self._centred.square().sum(1)
        self.squares = self._squares[self._lies]
        # Equal items have bit-identical scores, wherever they lie.
        first = _first_equal(embeddings)
        equal = places(first[items[columns]], n)[first[in_memory]]
        (repeated,) = np.nonzero(equal[: len(items)] != np.arange(len(items)))
        self._equal, self._repeated = self.on_device(equal), self.on_device(repeated)
        self._stands_for = self.on_device(equal[repeated])

    def __len__(self) -> int:
        return len(self._centred)

    def on_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def centroids(self, labels: Sequence[tuple[Tensor, int]]) -> list[Tensor]:
        """Means (c, d + 2) of the items of each label: `block.asking @ centroids.T` are mean cosines; NaN for no items.

        Args:
            labels: for each result, the label of each item (w,) int64, c for none, in the order of columns; and c.
        """
        along = self._along[: self._n_items, None]
        terms = torch.cat([self._centred[: self._n_items], torch.ones_like(along), along], dim=1)
        terms.mul_(self._inverse[: self._n_items, None])
        sums = [terms.new_zeros(c + 1, terms.shape[1]).index_add_(0, codes, terms)[:c] for codes, c in labels]
        return [of / torch.bincount(codes, minlength=c)[:c, None] for of, (codes, c) in zip(sums, labels, strict=True)]

    def blocks(self, rows: np.ndarray) -> Iterator[Block]:
        """Scores of some rows, in blocks sized by BLOCK; each block overwrites the one before."""
        n_items, buffers = self._n_items, _Buffers(self.device)
        items, inverse, along = self._centred[:n_items].T, self._inverse[:n_items], self._along[:n_items]
        # At least so many that the shift removes ROUNDS itself.
        bits = max(13, (n_items - 1).bit_length())
        unit, rounds = 2.0 ** (61 - bits), inverse.new_tensor(ROUNDS)
        for rows_here in self.on_device(rows).split(max(1, BLOCK // n_items)):
            shape = len(rows_here), n_items
            products, scores = (buffers.take(name, shape) for name in ("products", "scores"))
            here = self._lies[rows_here]
            of_rows, along_of_rows = self._inverse[here], self._along[here]
            torch.mm(self._centred[here], items, out=products)
            # The row's own norm is applied later, which saves a pass over the block.
            cosines = torch.addcmul(along * inverse, products, inverse, out=scores).addr_(along_of_rows, inverse)
            cosines[:, self._repeated] = cosines[:, self._stands_for]
            whole_numbers = torch.addcmul(rounds, cosines, -unit * of_rows[:, None], out=scores).view(torch.int64)
            # The multiplication shifts left: the high bits overflow.
            keys = torch.add(self.columns, whole_numbers, alpha=2**bits, out=whole_numbers)
            distances = torch.add(self._squares[:n_items], products, alpha=-2.0, out=products)
            distances.add_(self._squares[here, None])
            (equal,) = torch.nonzero(self._equal[here] >= 0, as_tuple=True)
            distances[equal, self._equal[here[equal]]] = 0.0
            distances.clamp_(min=0.0).sqrt_()
            distances[:, self._repeated] = distances[:, self._stands_for]
            # A query comes last among its own neighbours.
            (own,) = torch.nonzero(here < n_items, as_tuple=True)
            column = here[own]
            keys[own, column], distances[own, column] = NONE + self.columns[column], torch.inf
            asking = torch.cat([self._centred[here], along_of_rows[:, None], torch.ones_like(of_rows)[:, None]], dim=1)
            asking.mul_(of_rows[:, None])
            yield Block(rows_here, asking, distances, keys, bits, buffers)


class Neighbours:
    """Those rows of a block that are queries against some of the items, and their neighbours among these.

    Attributes:
        n: number of those items.
        at: (b,) int64, the place of each row of the block among those that ask, -1 if it does not.

    Args:
        asks: (b,) bool.
        columns, items: (u,) int64, the columns of those items, ascending, and their places.
        ordered: how many neighbours are likely to be asked for.
    """

    def __init__(self, block: Block, asks: Tensor, columns: Tensor, items: Tensor, ordered: int) -> None:
        self._block, self._items, self._ordered, self.n = block, items, ordered, len(items)
        (rows,) = torch.nonzero(asks, as_tuple=True)
        self.at = torch.full_like(block.rows, -1)
        self.at[rows] = torch.arange(len(rows), device=asks.device)
        self._keys = self._part("keys", block.keys, rows, columns)
        self._distances = self._part("distances", block.distances, rows, columns)
        self._n_sorted = 0
        self._closest: tuple[Tensor, Tensor] | None = None

    def _part(self, name: str, scores: Tensor, *where: Tensor) -> Tensor:
        """The scores at some rows and columns: where they lie, or a copy if they do not lie side by side."""
        for dim, places in enumerate(where):
            first, last = int(places[0]), int(places[-1])
            if last - first + 1 == len(places):
                scores = scores.narrow(dim, first, len(places))
                continue
            shape = (len(places), scores.shape[1]) if dim == 0 else (len(scores), len(places))
            buffer = self._block.buffers.take(f"{name} {dim}", shape, scores.dtype)
            scores = torch.index_select(scores, dim, places, out=buffer)
        return scores

    def by_cosine(self, at: Tensor, width: int) -> Tensor:
        """The first keys (m, width) of some rows: ties in the order of the items' places; the row itself comes last."""
        if width > self._n_sorted:
            self._n_sorted = min(self.n, max(width, self._ordered))
            first_in_order(self._keys, self._n_sorted)
        return self._keys[:, :width].index_select(0, at)

    def by_distance(self, at: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The first items (m, width) of some rows by distance, equal ones in any order, and the distances (m, width)."""
        if self._closest is None or width > self._closest[0].shape[1]:
            distances, columns = self._distances.topk(width, dim=1, largest=False)
            self._closest = self._items[columns], distances
        columns, distances = self._closest
        return columns[at, :width], distances[at, :width]

    def distances(self, at: Tensor) -> Tensor:
        """Distances (m, u) of some rows from all items, until the next call."""
        buffer = self._block.buffers.take("asked distances", (len(at), self.n))
        return torch.index_select(self._distances, 0, at, out=buffer)


def centre(points: Tensor) -> Tensor:
    """The mean (d,) of the unit vectors of points (n, d), times the points' smallest non-zero norm.

    Where all are alike it is close to them. Where norms differ, subtracting it makes none much longer.
    """
    inverse = _inverse_lengths(points)
    n_directions = torch.count_nonzero(inverse)
    return (inverse @ points) / (n_directions * inverse.amax()) if n_directions else torch.zeros_like(points[0])


def _inverse_lengths(points: Tensor) -> Tensor:
    """1 / |x| (n,), and 0 for a zero vector."""
    norms = points.norm(dim=1)
    return torch.where(norms > 0, 1 / norms, 0.0)


def first_in_order(keys: Tensor, width: int) -> Tensor:
    """The `width` lowest of each row of keys (b, w) int64, sorted: they are moved to its beginning, in place."""
    first = keys[:, :width]
    if keys.device.type != "cpu":
        return first.copy_(keys.topk(width, dim=1, largest=False).values)

    def sort(part: np.ndarray) -> None:  # numpy sorts whole numbers ten times as fast as torch
        if 2 * width < part.shape[1]:
            part.partition(width - 1, axis=1)
            part = part[:, :width]
        part.sort(axis=1)

    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(sort, np.array_split(keys.numpy(), n_threads)))
    return first


def places(rows: np.ndarray, n: int) -> np.ndarray:
    """The first position of each of n rows in `rows`, -1 if it is not there."""
    found = np.full(n, -1)
    found[rows[::-1]] = np.arange(len(rows))[::-1]
    return found


def _first_equal(embeddings: np.ndarray) -> np.ndarray:
    """The first row (n,) int64 that is equal to each."""
    seen: dict[bytes, int] = {}
    digests = (blake2b((row + np.float32(0)).tobytes()).digest() for row in embeddings)  # + 0: of -0, 0
    return np.array([seen.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=np.int64)
