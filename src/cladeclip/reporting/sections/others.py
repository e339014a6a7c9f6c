"""The report's section that puts other finished runs beside this one (`report.also`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cladeclip.io.parquet import read_table
from cladeclip.reporting.comparison import Primary
from cladeclip.tables import COMPARISON

KEY = ["split", "column", "taxa", "model"]


def other_runs_section(comparison: pd.DataFrame, also: Sequence[str], primary: Primary) -> list[dict[str, Any]]:
    """A row a split, rank, taxa and model that this run or another one has, in the primary comparison's measure.

    Args:
        also: the results folders of the other runs.

    Returns:
        Dicts with run (the folder), the columns of KEY, and of each of here and there: accuracy, low, high, n_query (None
        where that run has no such row); difference is here less there.
    """
    rows: list[dict[str, Any]] = []
    for folder in also:
        other = read_table(Path(folder) / "comparison.parquet", COMPARISON)
        pair = _of(comparison, primary).merge(_of(other, primary), on=KEY, how="outer", suffixes=("_here", "_there"))
        for row in pair.sort_values(KEY).to_dict(orient="records"):
            sides = {
                side: {name: _number(row[f"{name}_{side}"]) for name in ("accuracy", "low", "high", "n_query")}
                for side in ("here", "there")
            }
            here, there = sides["here"]["accuracy"], sides["there"]["accuracy"]
            difference = None if here is None or there is None else here - there
            rows.append({"run": folder, **{name: row[name] for name in KEY}, **sides, "difference": difference})
    return rows


def _of(comparison: pd.DataFrame, primary: Primary) -> pd.DataFrame:
    found = comparison[[*KEY, "n_query"]].copy()
    for name, column in (("accuracy", ""), ("low", "_low"), ("high", "_high")):
        found[name] = comparison[primary.measure + column]
    return found


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
