"""The contracts between stages: every table that one stage writes and another reads, declared once.

Tables are Parquet (zstd), sorted by their key, and written whole or not at all. Reading checks the declared columns and
says which file and column is wrong. Columns beyond the declared ones are allowed (`images` carries whatever rank columns
the data has).
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cladeclip import __version__
from cladeclip.atomic import atomic_path
from cladeclip.errors import TableError
from cladeclip.evaluation.measures import MEASURES, RETRIEVED


@dataclass(frozen=True)
class Contract:
    """What a table holds: its columns with their types, and the columns by which its rows are sorted and unique."""

    name: str
    row: str
    columns: Mapping[str, pa.DataType]
    key: tuple[str, ...]


STRING, INT, FLOAT = pa.string(), pa.int64(), pa.float64()

LISTING = Contract(
    "listing",
    "a file of the dataset's folder",
    {"path": STRING, "size": INT, "content_hash": STRING},
    ("path",),
)
IMAGES = Contract(
    "images",
    "an accepted image",
    {
        "image_id": STRING,
        "content_hash": STRING,
        "category": STRING,
        "scientific_name": STRING,
        "genus": STRING,
        "width": INT,
        "height": INT,
        "pixel_group": STRING,
        "content_group": STRING,
    },
    ("image_id",),
)
QUARANTINE = Contract(
    "quarantine", "a rejected image", {"image_id": STRING, "reason": STRING, "detail": STRING}, ("image_id",)
)
NAMES = Contract(
    "names",
    "a name as written, and what the data says of its rank",
    {
        "name_as_written": STRING,
        "rank": STRING,
        "accepted": STRING,
        "label": STRING,
        "genus": STRING,
        "kind": STRING,
        "n": INT,
    },
    ("name_as_written", "rank"),
)
SPLIT = Contract(
    "split",
    "an image",
    {"image_id": STRING, "part": STRING, "part_alone": STRING, "group": STRING},
    ("image_id",),
)
NEAR_DUPLICATES = Contract(
    "near_duplicates",
    "two images that an encoder finds nearly the same",
    {"image_id": STRING, "other_image_id": STRING, "cosine": pa.float32()},
    ("image_id", "other_image_id"),
)
CAPTIONS = Contract(
    "captions", "an image", {"image_id": STRING, "caption": STRING, "caption_hash": STRING}, ("image_id",)
)
CLUSTERS = Contract(
    "clusters", "a fit image", {"image_id": STRING, "label": INT, "distance": pa.float32()}, ("image_id",)
)
# Uncertainty of each measure: bootstrap over queries, spread over query draws; and its mean over labels.
OF_EACH_MEASURE = ("low", "high", "sd_splits", "macro")
ACCURACY = Contract(
    "accuracy",
    "a subset of taxa and a rank",
    {
        "taxa": STRING,
        "column": STRING,
        **dict.fromkeys(MEASURES, FLOAT),
        "n_query": INT,
        "n_gallery": INT,
        "n_labels": INT,
        "n_query_without_gallery": INT,
        **{f"{measure}_{kind}": FLOAT for kind in OF_EACH_MEASURE for measure in MEASURES},
    },
    ("taxa", "column"),
)
KNN = Contract(
    "knn",
    "a subset of taxa, a rank, a number of neighbours and a way to count their votes",
    {"taxa": STRING, "column": STRING, "k": INT, "weighting": STRING, "micro": FLOAT, "macro": FLOAT},
    ("taxa", "column", "k", "weighting"),
)
RETRIEVAL = Contract(
    "retrieval",
    "a subset of taxa at a rank",
    {
        "taxa": STRING,
        "column": STRING,
        **{f"{name}{kind}": FLOAT for kind in ("", "_macro") for name in RETRIEVED},
        "n_queries": INT,
        "n_without_match": INT,
    },
    ("taxa", "column"),
)
CLASSES = Contract(
    "classes",
    "a species or genus that was asked for",
    {
        "column": STRING,
        "label": STRING,
        "n_query": INT,
        **dict.fromkeys(MEASURES, FLOAT),
        **dict.fromkeys(RETRIEVED, FLOAT),
    },
    ("column", "label"),
)
CONFUSIONS = Contract(
    "confusions",
    "a label and another one that its queries were taken for",
    {"column": STRING, "label": STRING, "predicted": STRING, "n": INT, "share": FLOAT},
    ("column", "label", "predicted"),
)
PREDICTIONS = Contract(
    "predictions",
    "a query image in a subset of taxa at a rank",
    {
        "taxa": STRING,
        "column": STRING,
        "image_id": STRING,
        "label": STRING,
        **dict.fromkeys(MEASURES, STRING),
        "nearest_image_id": STRING,
        "nearest_cosine": pa.float32(),
    },
    ("taxa", "column", "image_id"),
)
NEIGHBOURS = Contract(
    "neighbours",
    "a query image, of All by species, and one of the nearest gallery images",
    {"image_id": STRING, "place": INT, "neighbour_image_id": STRING, "cosine": pa.float32()},
    ("image_id", "place"),
)
ONE_BY_ONE = Contract(
    "one_by_one",
    "an encoder that was not trained here: its accuracies if pictures of one specimen could stand on both sides",
    {**dict.fromkeys(MEASURES, FLOAT), "n_query": INT, "n_gallery": INT},
    ("n_query",),
)
PROBE = Contract(
    "probe",
    "a rank",
    {"column": STRING, "micro": FLOAT, "macro": FLOAT, "n_query": INT, "n_gallery": INT, "converged": pa.bool_()},
    ("column",),
)
ZERO_SHOT = Contract(
    "zero_shot",
    "a subset of taxa at a rank",
    {
        "taxa": STRING,
        "column": STRING,
        "top1": FLOAT,
        "top5": FLOAT,
        "macro": FLOAT,
        "n_query": INT,
        "n_labels": INT,
    },
    ("taxa", "column"),
)
CHANGES = Contract(
    "changes",
    "a species or genus under a trained student",
    {"split": STRING, "model": STRING, "column": STRING, "label": STRING, "n_query": INT, "fixed": INT, "broken": INT},
    ("split", "model", "column", "label"),
)
HIERARCHY = Contract(
    "hierarchy",
    "a rank, of images whose species are known or new",
    {
        "part": STRING,
        "rank": STRING,
        "n": INT,
        "answered": FLOAT,
        "accuracy": FLOAT,
        "precision": FLOAT,
        "recall": FLOAT,
        "f1": FLOAT,
        "aurc": FLOAT,
        "n_stopped": INT,
        "accuracy_stopped": FLOAT,
    },
    ("part", "rank"),
)
COVERAGE = Contract(
    "coverage",
    "a point of a curve: the accuracy at a rank when only the most confident share is answered",
    {"part": STRING, "rank": STRING, "coverage": FLOAT, "accuracy": FLOAT},
    ("part", "rank", "coverage"),
)
NOVELTY = Contract(
    "novelty",
    "a novelty score at a rank",
    {"score": STRING, "rank": STRING, "auroc": FLOAT, "fpr95": FLOAT},
    ("score", "rank"),
)
# Beside these, for each rank of the taxonomy: the answer under the rank's name, and the truth under true_{rank}.
TAXONOMIC_ANSWERS = Contract(
    "taxonomic_answers",
    "an image that was asked about",
    {
        "image_id": STRING,
        "part": STRING,
        "answered": STRING,
        "novel_at": STRING,
        "confidence": FLOAT,
        "nearest_image_id": STRING,
    },
    ("image_id",),
)
# Beside these, the answer at each rank of the taxonomy, and nearest_{1..3} with their _species and _cosine.
IDENTIFIED = Contract(
    "identified",
    "a new picture",
    {"image_id": STRING, "reason": STRING, "answered": STRING, "novel_at": STRING, "confidence": FLOAT},
    ("image_id",),
)
EMBEDDINGS_MAP = Contract(
    "embeddings_map",
    "an image's place on the plane, of a model's embeddings",
    {
        "model": STRING,
        "image_id": STRING,
        **dict.fromkeys(("pca_1", "pca_2", "tsne_1", "tsne_2"), pa.float32()),
    },
    ("model", "image_id"),
)
SALIENCY = Contract(
    "saliency",
    "a picture, and what in it a model looks at",
    {"model": STRING, "image_id": STRING, "compared_with": STRING, "cosine": pa.float32(), "overlay": pa.binary()},
    ("model", "image_id"),
)
# What the evaluation of one model on one split gives.
EVALUATION = {
    contract.name: contract
    for contract in (ACCURACY, PREDICTIONS, NEIGHBOURS, KNN, RETRIEVAL, CLASSES, CONFUSIONS, ONE_BY_ONE, PROBE)
}
COMPARISON = Contract(
    "comparison",
    "a model on a subset of taxa at a rank",
    {"model": STRING, **ACCURACY.columns, "split": STRING, **{f"{measure}_sd_seeds": FLOAT for measure in MEASURES}},
    ("split", "model", "taxa", "column"),
)
# The picture store is not Parquet but an Arrow IPC file, which can be memory-mapped: a row is a picture as JPEG.
PICTURES = pa.schema([("image_id", STRING), ("picture", pa.binary())])


def write_table(path: str | Path, contract: Contract, frame: pd.DataFrame, metadata: Mapping[str, str]) -> None:
    """Writes `frame` sorted by the contract's key; `metadata` says what made it.

    Raises:
        TableError: a declared column is missing, a value does not fit its type, or two rows share a key.
    """
    missing = [column for column in contract.columns if column not in frame.columns]
    if missing:
        raise TableError(f"{path}: the {contract.name} table lacks the column(s) {', '.join(missing)}.")
    key = list(contract.key)
    repeated = frame.duplicated(subset=key)
    if repeated.any():
        raise TableError(f"{path}: {int(repeated.sum())} row(s) repeat the key ({', '.join(key)}) of another row.")
    frame = frame.sort_values(key, kind="stable")
    extra = [column for column in frame.columns if column not in contract.columns]
    fields = [pa.field(name, kind) for name, kind in contract.columns.items()]
    fields += [pa.field(name, pa.Schema.from_pandas(frame[[name]], preserve_index=False).types[0]) for name in extra]
    try:
        table = pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TableError(f"{path}: the {contract.name} table does not fit its columns: {error}.") from error
    _write(path, table, metadata)


def read_table(path: str | Path, contract: Contract) -> pd.DataFrame:
    """Reads a table and checks it against its contract.

    Raises:
        TableError: the file is absent, is not Parquet, or lacks a declared column or type.
    """
    try:
        # One thread: Arrow's pool can bring a process down while it ends (apache/arrow issue 34314), and tables are small.
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
    except FileNotFoundError as error:
        raise TableError(f"{path}: the {contract.name} table does not exist.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(
            f"{path}: the {contract.name} table cannot be read ({error}); delete it and run again to rebuild it."
        ) from error
    for column, kind in contract.columns.items():
        if column not in table.column_names:
            raise TableError(f"{path}: the {contract.name} table lacks the column '{column}'.")
        found = table.schema.field(column).type
        if not (found == kind or (pa.types.is_large_string(found) and kind == STRING)):
            raise TableError(f"{path}: column '{column}' holds {found}, but the {contract.name} table declares {kind}.")
    return table.to_pandas(use_threads=False)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file: what made it."""
    stored = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in stored.items() if key != b"ARROW:schema"}


class EmbeddingsWriter:
    """Writes an embeddings table a piece at a time, so that no more than a piece needs to be in memory.

    Use as a context manager: the file is there, whole, only if the block ends without an error.

    Args:
        dim: length of an embedding.
        metadata: what made the embeddings.
    """

    def __init__(self, path: str | Path, dim: int, metadata: Mapping[str, str]) -> None:
        self.path, self.dim = Path(path), dim
        self._schema = pa.schema([("image_id", STRING), ("embedding", embedding_kind(dim))], _made_by(metadata))
        self._last: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "EmbeddingsWriter":
        temporary = self._stack.enter_context(atomic_path(self.path))
        # The bytes of floats compress only when split by their significance; a dictionary of them is never smaller.
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
        """Adds rows (n, dim) float32, sorted by `image_id` and behind those written before.

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


def _write(path: str | Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    # pandas' own metadata is dropped: it names versions and would change the bytes of an equal table.
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(_made_by(metadata)), temporary, compression="zstd")


def _made_by(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: str(value) for key, value in sorted({**metadata, "cladeclip_version": __version__}.items())}
