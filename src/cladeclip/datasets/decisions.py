"""A curator's decisions on single pictures: another name, or out of the data set. The last of a picture counts."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from cladeclip.datasets.names import read_names
from cladeclip.datasets.naming import some
from cladeclip.errors import DataError, did_you_mean
from cladeclip.io.table_file import read_table_file
from cladeclip.ranks import HIGHER_RANKS

logger = logging.getLogger(__name__)

# What may be decided of a picture.
NAME, EXCLUDE, KEEP = "name", "exclude", "keep"
DECISIONS = {
    NAME: "it has the name in the column `name`, whatever the data says",
    EXCLUDE: "it is no picture of a specimen, and is left out",
    KEEP: "it is as the data says",
}
NEEDED = ("image_id", "decision")
COLUMNS = (*NEEDED, "name", "note", "when")


@dataclass(frozen=True)
class Decisions:
    """What was decided.

    Attributes:
        names: by image_id, the name as the curator wrote it.
        excluded: by image_id, the note, which may be empty.
        kept: image_ids that are right as they are.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, str] = field(default_factory=dict)
    kept: Collection[str] = frozenset()


def read_decisions(file: str | Path) -> Decisions:
    """What the last decision on each picture is, of a table as `decision_rows` reads it.

    Raises:
        DataError: the file is no such table; the message names the row.
    """
    last = {row.image_id: row for row in decision_rows(file).itertuples()}
    return Decisions(
        {row.image_id: row.name for row in last.values() if row.decision == NAME},
        {row.image_id: row.note for row in last.values() if row.decision == EXCLUDE},
        frozenset(row.image_id for row in last.values() if row.decision == KEEP),
    )


def decision_rows(file: str | Path) -> pd.DataFrame:
    """The rows of a table with COLUMNS, of which those but NEEDED may be absent, as texts; none for no file.

    Raises:
        DataError: the file is no such table; the message names the row.
    """
    if not file:
        return pd.DataFrame(columns=list(COLUMNS), dtype=str)
    path = Path(file)
    table = read_table_file(path, key="dataset.decisions")
    for column in NEEDED:
        if column not in table:
            raise DataError(f"{path}: has no column {column!r}; dataset.decisions needs {', '.join(COLUMNS[:3])}.")
    table = table.reindex(columns=list(COLUMNS), fill_value="").map(str.strip)
    for number, row in enumerate(table.itertuples(index=False), start=2):
        if not row.image_id:
            raise DataError(f"{path}: row {number} names no picture; fill in image_id, or remove the row.")
        if row.decision not in DECISIONS:
            raise DataError(
                f"{path}: row {number} decides {row.decision!r}{did_you_mean(row.decision, list(DECISIONS))}; allowed are "
                f"{', '.join(DECISIONS)}."
            )
        if row.decision == NAME and not row.name:
            raise DataError(
                f"{path}: row {number} gives {row.image_id} a name, but its column `name` is blank; write it."
            )
    return table


def with_decided_names(listed: pd.DataFrame, decisions: Decisions) -> pd.DataFrame:
    """Listed pictures with the names that were decided in the place of those that the data has.

    What the data says of a renamed picture's genus and rank is of another name, and is taken away.
    """
    decided = listed["image_id"].map(dict(decisions.names))
    renamed = decided.notna() & (decided != listed["scientific_name"])
    gone = sorted({*decisions.names, *decisions.excluded, *decisions.kept} - set(listed["image_id"]))
    if gone:
        logger.warning("dataset.decisions: the data does not list %s; passed over.", some(gone))
    blank = [column for column in ("genus", "taxon_rank") if column in listed]
    listed = listed.assign(decided=renamed, name_before=listed["scientific_name"])
    listed["scientific_name"] = decided.where(renamed, listed["scientific_name"])
    listed.loc[renamed, blank] = ""
    if renamed.any():
        logger.info("%d pictures have another name by dataset.decisions.", int(renamed.sum()))
    if decisions.excluded:
        logger.info("%d pictures are left out by dataset.decisions.", len(decisions.excluded))
    return listed


def with_ranks_of_decided(listed: pd.DataFrame) -> pd.DataFrame:
    """Renamed pictures (column `decided`) with the higher ranks of their new genus, as the other pictures have them.

    Where the data has the genus nowhere else, they keep their own if their old name was of no other genus (that of pictures
    without a name, say); else they are blank: nothing is made up.
    """
    ranks = [rank for rank in HIGHER_RANKS if rank in listed]
    renamed = listed["decided"]
    if not ranks or not renamed.any():
        return listed
    known = listed[~renamed & (listed["genus"] != "")].groupby("genus")[ranks].agg(_most_frequent)
    rows = listed[renamed]
    before = read_names([(name, "") for name in rows["name_before"]])
    genus_before = np.array([before[name, ""].genus for name in rows["name_before"]])
    keeps = ~rows["genus"].isin(known.index).to_numpy() & ((genus_before == "") | (genus_before == rows["genus"]))
    of_genus = known.reindex(rows["genus"]).fillna("").to_numpy()
    listed = listed.copy()
    listed.loc[renamed, ranks] = np.where(np.asarray(keeps)[:, None], rows[ranks].to_numpy(), of_genus)
    return listed


def _most_frequent(values: "pd.Series[str]") -> str:
    return str(values.mode().iloc[0])
