"""A region's species list, as the only names allowed."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from cladeclip.datasets.names import read_names
from cladeclip.datasets.naming import some
from cladeclip.errors import DataError
from cladeclip.io.table_file import find_column, read_table_file

logger = logging.getLogger(__name__)

# The column of names, the first that a table has; else its first column.
COLUMNS = ("scientificName", "acceptedScientificName", "species", "name", "taxon")


def read_checklist(file: str | Path) -> set[str]:
    """The names of a table (a GBIF checklist, or a text file of a name a line), as labels.

    Raises:
        DataError: the file is no table, or holds no name of a species.
    """
    table = read_table_file(Path(file), key="identify.checklist")
    column = find_column(table, COLUMNS)
    names = list(table[column or table.columns[0]])
    if column is None:
        names.append(str(table.columns[0]))  # a list of names has no header
    found = {name.label for name in read_names([(name, "") for name in names]).values() if name.label}
    if not found:
        raise DataError(f"{file}: identify.checklist holds no name of a species.")
    return found


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
