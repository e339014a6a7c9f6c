"""The contracts between stages: every table that one stage writes and another reads, declared once.

Tables are Parquet (zstd), sorted by their key, and written whole or not at all. Reading checks the declared columns and
says which file and column is wrong. Columns beyond the declared ones are allowed (`images` carries whatever rank columns
the data has).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cladeclip import __version__
from cladeclip.atomic import atomic_path
from cladeclip.errors import TableError

EMBEDDING_ROWS_PER_GROUP = 4096


@dataclass(frozen=True)
class Contract:
    """What a table holds: its columns with their types, and the columns by which its rows are sorted and unique."""

    name: str
    row: str
    columns: Mapping[str, pa.DataType]
    key: tuple[str, ...]


STRING, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

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
        "content_group": STRING,
    },
    ("image_id",),
)
QUARANTINE = Contract(
    "quarantine", "a rejected image", {"image_id": STRING, "reason": STRING, "detail": STRING}, ("image_id",)
)
SPLIT = Contract("split", "an image", {"image_id": STRING, "part": STRING}, ("image_id",))
CAPTIONS = Contract(
    "captions", "an image", {"image_id": STRING, "caption": STRING, "caption_hash": STRING}, ("image_id",)
)
CLUSTERS = Contract(
    "clusters", "a fit image", {"image_id": STRING, "label": INT, "distance": pa.float32()}, ("image_id",)
)
ACCURACY = Contract(
    "accuracy",
    "a subset of taxa and a rank",
    {
        "taxa": STRING,
        "column": STRING,
        "accuracy_individual": FLOAT,
        "accuracy_avg": FLOAT,
        "distance_individual": FLOAT,
        "distance_avg": FLOAT,
        "n_query": INT,
        "n_gallery": INT,
        "n_labels": INT,
        "n_query_without_gallery": INT,
    },
    ("taxa", "column"),
)
PREDICTIONS = Contract(
    "predictions",
    "a query image in a subset of taxa at a rank",
    {
        "taxa": STRING,
        "column": STRING,
        "image_id": STRING,
        "label": STRING,
        "accuracy_individual": STRING,
        "accuracy_avg": STRING,
        "distance_individual": STRING,
        "distance_avg": STRING,
        "nearest_image_id": STRING,
        "nearest_cosine": pa.float32(),
    },
    ("taxa", "column", "image_id"),
)
COMPARISON = Contract(
    "comparison",
    "a model on a subset of taxa at a rank",
    {"model": STRING, **ACCURACY.columns, "split": STRING},
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
        table = pq.read_table(path)
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
    return table.to_pandas()


def read_metadata(path: str | Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file: what made it."""
    stored = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in stored.items() if key != b"ARROW:schema"}


def write_embeddings(
    path: str | Path, image_ids: Sequence[str], embeddings: np.ndarray, metadata: Mapping[str, str]
) -> None:
    """Writes embeddings (n, d) float32, one row an image, sorted by `image_id`."""
    if embeddings.ndim != 2 or len(image_ids) != len(embeddings):
        raise TableError(f"{path}: {len(image_ids)} image ids do not go with embeddings of shape {embeddings.shape}.")
    if not np.isfinite(embeddings).all():
        bad = int((~np.isfinite(embeddings).all(axis=1)).sum())
        raise TableError(f"{path}: {bad} embedding(s) hold NaN or infinity; check the encoder's weights.")
    order = np.argsort(np.asarray(image_ids, dtype=object), kind="stable")
    ids = [image_ids[i] for i in order]
    flat = np.ascontiguousarray(embeddings[order], dtype=np.float32).reshape(-1)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat), embeddings.shape[1])
    _write(path, pa.table({"image_id": pa.array(ids, STRING), "embedding": column}), metadata, EMBEDDING_ROWS_PER_GROUP)


def read_embeddings(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Image ids (n) and embeddings (n, d) float32, read row group by row group into one array.

    Raises:
        TableError: the file is not an embeddings table.
    """
    try:
        file = pq.ParquetFile(path)
        kind = file.schema_arrow.field("embedding").type
    except (FileNotFoundError, KeyError, pa.ArrowInvalid) as error:
        raise TableError(f"{path}: not a table of embeddings ({error}).") from error
    if not (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()):
        raise TableError(f"{path}: column 'embedding' holds {kind}, not fixed_size_list<float>.")
    embeddings = np.empty((file.metadata.num_rows, kind.list_size), dtype=np.float32)
    ids: list[str] = []
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=["image_id", "embedding"])
        column = table.column("embedding").combine_chunks()
        rows = column.flatten().to_numpy().reshape(-1, kind.list_size)
        embeddings[len(ids) : len(ids) + len(rows)] = rows
        ids.extend(table.column("image_id").to_pylist())
    return ids, embeddings


def rows_for(path: str | Path, image_ids: Sequence[str]) -> np.ndarray:
    """Embeddings (len(image_ids), d) in the order of `image_ids`.

    Raises:
        TableError: an image has no embedding in this file.
    """
    ids, embeddings = read_embeddings(path)
    position = {image_id: row for row, image_id in enumerate(ids)}
    try:
        rows = np.fromiter((position[i] for i in image_ids), dtype=np.int64, count=len(image_ids))
    except KeyError as error:
        raise TableError(f"{path}: no embedding of image {error}; delete the file and run again.") from error
    return embeddings[rows]


def _write(path: str | Path, table: pa.Table, metadata: Mapping[str, str], rows_per_group: int | None = None) -> None:
    # pandas' own metadata is dropped: it names versions and would change the bytes of an equal table.
    made_by = {**metadata, "cladeclip_version": __version__}
    table = table.replace_schema_metadata({key: str(value) for key, value in sorted(made_by.items())})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=rows_per_group)
