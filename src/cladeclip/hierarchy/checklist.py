"""A region's species list, as the only names allowed."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from cladeclip.datasets.names import read_names
from cladeclip.datasets.naming import some
from cladeclip.errors import DataError
from cladeclip.io.table_file import find_column, read_table_file, term

logger = logging.getLogger(__name__)

# The column of names, the first that a table has.
COLUMNS = ("scientificName", "acceptedScientificName", "species", "name", "taxon")
# Endings of files that may be a list of names.
LISTS = (".txt", ".csv", ".tsv", ".lst", "")


def read_checklist(file: str | Path) -> set[str]:
    """The names of a table with a column of COLUMNS (a GBIF checklist, say), or of a text file of a name a line, as labels.

    Raises:
        DataError: the file is not there or no table, or holds no name of a species.
    """
    path = Path(file)
    names = _lines(path) if path.is_file() else None
    if names is None:
        table = read_table_file(path, key="identify.checklist")
        column = find_column(table, COLUMNS)
        names = list(table[column]) if column else []
    found = {name.label for name in read_names([(name, "") for name in names]).values() if name.label}
    if not found:
        raise DataError(
            f"{file}: identify.checklist holds no name of a species; it needs a column {COLUMNS[0]}, or a name a line."
        )
    return found


def _lines(path: Path) -> list[str] | None:
    """The lines of a list of names, whose authors may have commas; None of a table that says which column has the names."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    if path.suffix.lower() not in LISTS or "\0" in text:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cells = re.split(r"[,;\t|]", lines[0]) if lines else []
    named = {name.lower() for name in COLUMNS} & {term(cell.strip('" ')) for cell in cells}
    if named and len(cells) > 1:
        return None
    return lines[1:] if named else lines


def on_checklist(known: pd.DataFrame, names: set[str], *, file: str) -> np.ndarray:
    """Whether each known picture (n,) has an allowed name; says what that excludes.

    Raises:
        DataError: none has.
    """
    species = set(known["scientific_name"])
    excluded, unknown = sorted(species - names), sorted(names - species)
    allowed = known["scientific_name"].isin(names).to_numpy()
    if not allowed.any():
        raise DataError(f"{file}: identify.checklist names none of the {len(species)} species of the data.")
    if excluded:
        logger.info("%d species of the data are not on the checklist and no answer: %s.", len(excluded), some(excluded))
    if unknown:
        logger.info("%d names of the checklist have no picture in the data: %s.", len(unknown), some(unknown))
    return allowed
