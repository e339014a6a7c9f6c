"""Tables as Parquet: written whole or not at all, sorted by their key, and checked against their contract when read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cladeclip import __version__
from cladeclip.errors import TableError
from cladeclip.io.atomic import atomic_path


@dataclass(frozen=True)
class Contract:
    """What a table holds: its columns with their types, and the columns by which its rows are sorted and unique."""

    name: str
    row: str
    columns: Mapping[str, pa.DataType]
    key: tuple[str, ...]


STRING, INT, FLOAT = pa.string(), pa.int64(), pa.float64()


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


def _write(path: str | Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    # pandas' own metadata is dropped: it names versions and would change the bytes of an equal table.
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(made_by(metadata)), temporary, compression="zstd")


def made_by(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: str(value) for key, value in sorted({**metadata, "cladeclip_version": __version__}.items())}
