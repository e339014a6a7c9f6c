"""All models side by side: comparison.parquet (fractions) and comparison.csv (percent, the seed report's columns first)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cladeclip.evaluation.nearest_label import COLUMNS
from cladeclip.evaluation.significance import PairedTest, mcnemar
from cladeclip.tables import ACCURACY, PREDICTIONS, read_table

CSV_COLUMNS = ("model", "taxa", "column", *COLUMNS, "split", "n_query", "n_gallery", "n_labels")


@dataclass(frozen=True)
class Primary:
    """The one comparison that decides, chosen in the config before any result was seen."""

    k: int
    column: str
    taxa: str
    measure: str
    split: str


def comparison_table(accuracy_paths: Iterable[str | Path]) -> pd.DataFrame:
    """The `comparison` table from every model's `accuracy` table, `.../{split}/evaluation/{model}/accuracy.parquet`."""
    frames = []
    for path in map(Path, accuracy_paths):
        split, _, model, _ = path.parts[-4:]
        frames.append(read_table(path, ACCURACY).assign(split=split, model=model))
    return pd.concat(frames, ignore_index=True)


def comparison_csv(comparison: pd.DataFrame) -> str:
    """The table as CSV: accuracies in percent with two decimals."""
    ordered = comparison.sort_values(["split", "model", "taxa", "column"], kind="stable")
    shown = ordered[list(CSV_COLUMNS)].copy()
    for column in COLUMNS:
        shown[column] = [f"{100 * value:.2f}" for value in shown[column]]
    return shown.to_csv(index=False)


def primary_rows(comparison: pd.DataFrame, primary: Primary) -> pd.DataFrame:
    """One row a model: the rows of the primary comparison, best first."""
    chosen = comparison[
        (comparison["split"] == primary.split)
        & (comparison["taxa"] == primary.taxa)
        & (comparison["column"] == primary.column)
    ]
    return chosen.sort_values([primary.measure, "model"], ascending=[False, True], kind="stable")


def correct_answers(predictions_path: str | Path, primary: Primary) -> np.ndarray:
    """Whether a model answered each query of the primary comparison right, in the order of image_id."""
    table = read_table(predictions_path, PREDICTIONS)
    chosen = table[(table["taxa"] == primary.taxa) & (table["column"] == primary.column)].sort_values("image_id")
    return (chosen[primary.measure] == chosen["label"]).to_numpy()


def paired_tests(
    predictions_paths: Mapping[str, str | Path], reference: str, others: list[str], primary: Primary
) -> dict[str, PairedTest]:
    """McNemar's test of the model `reference` against each of `others`, on the primary comparison."""
    of_reference = correct_answers(predictions_paths[reference], primary)
    return {other: mcnemar(of_reference, correct_answers(predictions_paths[other], primary)) for other in others}
