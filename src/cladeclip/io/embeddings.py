"""Tables of embeddings: read and written a piece at a time, so that they need not fit in memory."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cladeclip.errors import TableError
from cladeclip.io.atomic import atomic_path
from cladeclip.io.parquet import STRING, made_by, read_metadata


class EmbeddingsWriter:
    """Writes an embeddings table a piece at a time, so that no more than a piece needs to be in memory.

    Use as a context manager: the file is there, whole, only if the block ends without an error.

    Args:
        dim: length of an embedding.
        metadata: what made the embeddings.
    """

    def __init__(self, path: str | Path, dim: int, metadata: Mapping[str, str]) -> None:
        self.path, self.dim = Path(path), dim
        self._schema = pa.schema([("image_id", STRING), ("embedding", embedding_kind(dim))], made_by(metadata))
        self._last: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "EmbeddingsWriter":
        temporary = self._stack.enter_context(atomic_path(self.path))
        # Floats compress only as split byte streams; dictionary encoding never makes them smaller.
        writer = pq.ParquetWriter(
            temporary,
            self._schema,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=["embedding.list.element"],
        )
        self._parquet = self._stack.enter_context(writer)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, image_ids: Sequence[str], embeddings: np.ndarray) -> None:
        """Adds rows (n, dim) float32, sorted by `image_id` and after those written before.

        Raises:
            TableError: the shapes do not go together, the order is broken, or a value is not finite.
        """
        if embeddings.shape != (len(image_ids), self.dim):
            raise TableError(
                f"{self.path}: {len(image_ids)} image ids do not go with embeddings of shape {embeddings.shape}."
            )
        if not np.isfinite(embeddings).all():
            bad = int((~np.isfinite(embeddings).all(axis=1)).sum())
            raise TableError(
                f"{self.path}: {bad} embedding(s) hold NaN or infinity; check the encoder's weights, "
                "or set embed.precision to fp32."
            )
        for image_id in image_ids:
            if self._last is not None and image_id <= self._last:
                raise TableError(f"{self.path}: {image_id} comes after {self._last}; rows are sorted and unique.")
            self._last = image_id
        piece = pa.table([pa.array(image_ids, STRING), embedding_column(embeddings)], schema=self._schema)
        self._parquet.write_table(piece, row_group_size=rows_per_piece(self.dim))


def embedding_kind(dim: int) -> pa.DataType:
    return pa.list_(pa.float32(), dim)


def embedding_column(embeddings: np.ndarray) -> pa.FixedSizeListArray:
    """Rows (n, d) as an Arrow column of fixed-size lists of float32."""
    flat = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])


def embedding_rows(column: pa.FixedSizeListArray) -> np.ndarray:
    """The column's rows (n, d) float32; not a copy."""
    return column.flatten().to_numpy().reshape(len(column), -1)


def rows_per_piece(dim: int) -> int:
    """Rows of `dim` float32 that are read or written at once: 4 MiB, little beside the result."""
    return max(1, 4 * 1024 * 1024 // (4 * dim))


def write_embeddings(
    path: str | Path, image_ids: Sequence[str], embeddings: np.ndarray, metadata: Mapping[str, str]
) -> None:
    """Writes embeddings (n, d) float32, one row an image, sorted by `image_id`.

    Raises:
        TableError: as EmbeddingsWriter.write.
    """
    if embeddings.ndim != 2 or len(image_ids) != len(embeddings):
        raise TableError(f"{path}: {len(image_ids)} image ids do not go with embeddings of shape {embeddings.shape}.")
    order = np.argsort(np.asarray(image_ids, dtype=object), kind="stable")
    piece = rows_per_piece(embeddings.shape[1])
    with EmbeddingsWriter(path, embeddings.shape[1], metadata) as writer:
        for start in range(0, len(order), piece):
            rows = order[start : start + piece]
            writer.write([image_ids[i] for i in rows], embeddings[rows])


class EmbeddingsFile:
    """An embeddings table that is read a piece (a row group) at a time.

    Attributes:
        n: rows.
        dim: length of an embedding.

    Raises:
        TableError: the file is not an embeddings table.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._file = pq.ParquetFile(path)
            kind = self._file.schema_arrow.field("embedding").type
        except (FileNotFoundError, KeyError, pa.ArrowInvalid) as error:
            raise TableError(f"{path}: not a table of embeddings ({error}).") from error
        if not (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()):
            raise TableError(f"{path}: column 'embedding' holds {kind}, not fixed_size_list<float>.")
        self.n, self.dim = self._file.metadata.num_rows, kind.list_size

    def pieces(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Image ids (m) and embeddings (m, dim) float32 of one row group after the other."""
        for group in range(self._file.num_row_groups):
            table = self._file.read_row_group(group, columns=["image_id", "embedding"], use_threads=False)
            yield table.column("image_id").to_pylist(), embedding_rows(table.column("embedding").combine_chunks())


def read_embeddings(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Image ids (n) and embeddings (n, d) float32, read row group by row group into one array.

    Raises:
        TableError: the file is not an embeddings table.
    """
    file = EmbeddingsFile(path)
    embeddings = np.empty((file.n, file.dim), dtype=np.float32)
    ids: list[str] = []
    for image_ids, rows in file.pieces():
        embeddings[len(ids) : len(ids) + len(rows)] = rows
        ids.extend(image_ids)
    return ids, embeddings


def join_embeddings(paths: Sequence[str | Path], path: str | Path) -> None:
    """Writes the embeddings tables of shards as one, a piece at a time; the metadata is the first one's.

    Raises:
        TableError: a file is not an embeddings table, or two hold the same image.
    """
    files = [EmbeddingsFile(shard) for shard in paths]
    dim = files[0].dim
    metadata = read_metadata(paths[0])
    rows = heapq.merge(
        *((row for piece in file.pieces() for row in zip(*piece, strict=True)) for file in files), key=itemgetter(0)
    )
    with EmbeddingsWriter(path, dim, metadata) as writer:
        while piece := list(islice(rows, rows_per_piece(dim))):
            writer.write([image_id for image_id, _ in piece], np.stack([row for _, row in piece]))


def rows_for(path: str | Path, image_ids: Sequence[str]) -> np.ndarray:
    """Embeddings (len(image_ids), d) float32 in the order of `image_ids`; no others are kept in memory.

    Raises:
        TableError: an image has no embedding in this file.
    """
    file = EmbeddingsFile(path)
    embeddings = np.empty((len(image_ids), file.dim), dtype=np.float32)
    wanted: dict[str, list[int]] = {}
    for position, image_id in enumerate(image_ids):
        wanted.setdefault(image_id, []).append(position)
    for ids, rows in file.pieces():
        here = [(row, position) for row, image_id in enumerate(ids) for position in wanted.pop(image_id, ())]
        if here:
            source, target = np.array(here).T
            embeddings[target] = rows[source]
    if wanted:
        raise TableError(f"{path}: no embedding of image {min(wanted)!r}; delete the file and run again.")
    return embeddings
