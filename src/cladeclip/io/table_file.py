"""Tables as people have them: any separator and encoding, compressed, headers with blanks or Darwin Core's prefixes."""

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.errors import DataError, first_line

SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".psv", ".dat", ".txt", ".parquet"})
PACKED_SUFFIXES = frozenset({".gz", ".bz2", ".xz", ".zip"})
SEPARATORS = "\t;,|"
SURPLUS = "\0surplus"


def is_table(name: str) -> bool:
    """Whether a file of this name may be a table: `pictures.csv`, `occurrences.tsv.gz`, `occurrences.zip`."""
    path = PurePosixPath(name.lower())
    return (
        path.suffix == ".zip"
        or (PurePosixPath(path.stem) if path.suffix in PACKED_SUFFIXES else path).suffix in SUFFIXES
    )


def read_table_file(path: Path, key: str = "dataset.table.file") -> pd.DataFrame:
    """A table, every value a text, empty where there is none; headers without blanks around them.

    Args:
        key: the config's key that names the file, for error messages.

    What separates values is read off the header: a tab, semicolon, comma or bar. Text is UTF-8 or UTF-16, else Windows-1252.

    Raises:
        DataError: there is no such file, or it cannot be read as a table.
    """
    if not is_table(path.name):
        # Only files with a table's suffix are watched for changes.
        raise DataError(f"{path}: a table must be called by one of {', '.join(sorted(SUFFIXES))}; rename it.")
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path).astype("string").fillna("")
        else:
            table = _read_text(_text(_unpacked(path.read_bytes())).lstrip())
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such table; correct {key}.") from error
    except (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a table ({first_line(error)}).") from error
    table = table.rename(columns=lambda name: str(name).strip())
    if (twice := table.columns[table.columns.duplicated()]).size:
        raise DataError(f"{path}: has two columns called {twice[0]!r}; rename one.")
    return table


def _read_text(text: str) -> pd.DataFrame:
    if excels := re.match(r"sep=(.)\s*\n", text):
        text = text[excels.end() :]
    separator = excels[1] if excels else _separator(text.split("\n", 6)[:6])
    # GBIF's tables are tab-separated, and quotes in them are text; only those around a whole value are removed below.
    options: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if separator == "\t" else {}
    rows = csv.reader(io.StringIO(text), delimiter=separator, **options)
    header = next(rows, None)
    if not header:
        raise ValueError("it has no header")
    # One more than there are headers: lines may end with a separator.
    table = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        names=[*header, SURPLUS],
        skiprows=rows.line_num,
        index_col=False,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=any(name.startswith(" ") for name in header),
        **options,
    ).fillna("")
    if (table.pop(SURPLUS).str.strip() != "").any():
        raise ValueError("a row has more values than there are headers")
    return table.rename(columns=_unquoted).map(_unquoted) if separator == "\t" else table


def _unpacked(content: bytes) -> bytes:
    for magic, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress)):
        if content.startswith(magic):
            return unpack(content)
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            names = [name for name in packed.namelist() if is_table(name)]
            if len(names) != 1:
                raise ValueError(f"a zip file of {len(names)} tables, where one is needed")
            return packed.read(names[0])
    return content


def _text(content: bytes) -> str:
    encodings = ["utf-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise ValueError("it is no text")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    raise ValueError("it is no text")


def _separator(lines: list[str]) -> str:
    """The separator: the most frequent in the header of those that are equally frequent in all first lines; else of all."""
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines if line.strip()]
    if not bare:
        return ","
    steady = [one for one in SEPARATORS if bare[0].count(one) and len({line.count(one) for line in bare}) == 1]
    return max(steady or SEPARATORS, key=bare[0].count) if any(map(bare[0].count, SEPARATORS)) else ","


def _unquoted(value: str) -> str:
    bare = value.strip()
    return bare[1:-1].replace('""', '"') if len(bare) > 1 and bare[0] == bare[-1] == '"' else value


def term(header: str) -> str:
    """A header as a Darwin Core term in lower case: the last part of `dwc:scientificName` or of the term's URI."""
    return re.split(r"[:/#]", header.strip())[-1].strip().lower()


def find_column(table: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The table's column for the first of these names that it has, as written or as a Darwin Core term; else None."""
    by_term = {term(str(column)): str(column) for column in reversed(table.columns)}
    for name in names:
        if name in table.columns or term(name) in by_term:
            return name if name in table.columns else by_term[term(name)]
    return None


def column_of(
    path: Path,
    table: pd.DataFrame,
    columns: Mapping[str, str],
    name: str,
    usual: tuple[str, ...],
    key: str = "dataset.table.columns",
    *,
    needed: bool = True,
) -> str | None:
    """The table's column of `name`: the one that `columns` says, or the first that has a usual name.

    Args:
        key: the config's key that holds `columns`, for error messages.

    Raises:
        DataError: there is none, though it is named or needed.
    """
    found = find_column(table, [columns[name]] if name in columns else usual)
    has = ", ".join(map(str, table.columns[:12]))
    if found is None and name in columns:
        raise DataError(f"{path}: has no column '{columns[name]}', which {key}.{name} names; it has {has}.")
    if found is None and needed:
        raise DataError(
            f"{path}: none of its columns is called {' or '.join(usual)}; say which it is with "
            f"{key}.{name}. It has {has}."
        )
    return found
