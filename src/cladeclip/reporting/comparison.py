"""All models side by side: comparison.parquet (fractions) and comparison.csv (percent, the four accuracies first)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cladeclip.errors import DataError, first_line
from cladeclip.evaluation.measures import MEASURES
from cladeclip.evaluation.significance import PairedComparison, paired_comparison
from cladeclip.io.parquet import read_table
from cladeclip.names import ClusterLabels, ControlLabels, Labels, Model, Split, parse_labels
from cladeclip.paths import Results
from cladeclip.tables import ACCURACY, CHANGES, PREDICTIONS

# Interval over queries, spread over query draws or folds, spread over training seeds; see docs/method.md.
UNCERTAINTY = ("low", "high", "sd_splits", "sd_seeds")
CSV_COLUMNS = (
    "model",
    "taxa",
    "column",
    *MEASURES,
    "split",
    "n_query",
    "n_gallery",
    "n_labels",
    *(f"{column}_{kind}" for column in MEASURES for kind in UNCERTAINTY),
    *(f"{column}_macro" for column in MEASURES),
)
# Whole numbers, missing where a result was imported.
COUNTS = ("n_query", "n_gallery", "n_labels", "n_query_without_gallery")
# What stands in place of the split of results from elsewhere.
IMPORTED = "imported"
FRACTIONS = tuple(name for name in CSV_COLUMNS if name.startswith(MEASURES))


@dataclass(frozen=True)
class Primary:
    """The one comparison that decides, chosen in the config before any result was seen."""

    k: int
    column: str
    taxa: str
    measure: str
    split: str


def comparison_table(
    results: Results, models: Iterable[tuple[str, str]], imports: Iterable[str | Path] = ()
) -> pd.DataFrame:
    """The `comparison` table from the `accuracy` tables of `models` (split and model), and tables from elsewhere.

    The columns `*_sd_seeds` hold the standard deviation over the training seeds of the same student and labels (one value
    for all of them), where there are several; `*_sd_splits` that over folds, where query draws have not given one.
    """
    frames = [
        read_table(results.evaluation(split, model, "accuracy"), ACCURACY).assign(split=split, model=model)
        for split, model in models
    ]
    table = pd.concat(frames, ignore_index=True)
    trained = [Model.parse(model) for model in table["model"]]
    replicated = pd.Series([one.replicas if one else None for one in trained], index=table.index)
    protocol = table["split"].map(lambda split: Split.parse(split).protocol)
    for column in MEASURES:
        table[f"{column}_sd_seeds"] = _spread(table, column, [replicated, table["split"]])
        over_folds = _spread(table, column, [table["model"], protocol])
        table[f"{column}_sd_splits"] = table[f"{column}_sd_splits"].fillna(over_folds)
    table = pd.concat([table, *map(imported_rows, imports)], ignore_index=True)
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def _spread(table: pd.DataFrame, column: str, of: list[pd.Series]) -> pd.Series:
    """Standard deviation over rows that agree in `of`, taxa and rank; NaN for a row alone, and where `of` has no value."""
    known = of[0].notna()
    if not known.any():
        return pd.Series(np.nan, index=table.index)
    keys = [key[known] for key in (*of, table["taxa"], table["column"])]
    return table.loc[known, column].groupby(keys).transform("std").reindex(table.index)


def comparison_csv(comparison: pd.DataFrame) -> str:
    """The table as CSV: accuracies in percent with two decimals; missing values are empty."""
    ordered = comparison.sort_values(["split", "model", "taxa", "column"], kind="stable")
    shown = ordered[list(CSV_COLUMNS)].copy()
    for column in FRACTIONS:
        shown[column] = ["" if np.isnan(value) else f"{100 * value:.2f}" for value in shown[column].astype(float)]
    return shown.to_csv(index=False)


def primary_rows(comparison: pd.DataFrame, primary: Primary) -> pd.DataFrame:
    """One row a model: the rows of the primary comparison, best first."""
    chosen = comparison[
        (comparison["split"] == primary.split)
        & (comparison["taxa"] == primary.taxa)
        & (comparison["column"] == primary.column)
    ]
    return chosen.sort_values([primary.measure, "model"], ascending=[False, True], kind="stable")


def standings(comparison: pd.DataFrame, primary: Primary, encoders: Iterable[str]) -> pd.DataFrame:
    """Where the students of each k stand between the same student on labels without meaning (0) and on species labels (1).

    Returns:
        Columns student, teacher, features, k, accuracy, sd_seeds, random, species, position, in the primary comparison,
        as means over seeds; no row where one of the two controls is missing.
    """
    rows = primary_rows(comparison, primary)
    found: dict[tuple[str, Labels], list[float]] = {}
    for model, accuracy in zip(rows["model"], rows[primary.measure], strict=True):
        if (trained := Model.parse(model)) and trained.percent == 100:
            labels = parse_labels(trained.labels, encoders)
            found.setdefault((trained.student, labels), []).append(accuracy)
    standing = []
    for (student, labels), accuracies in found.items():
        lower = [np.mean(values) for (of, label), values in found.items() if of == student and _is(label, "random")]
        upper = [np.mean(values) for (of, label), values in found.items() if of == student and _is(label, "species")]
        if not isinstance(labels, ClusterLabels) or not lower or not upper:
            continue
        accuracy, random, species = float(np.mean(accuracies)), float(np.mean(lower)), float(np.mean(upper))
        standing.append(
            {
                "student": student,
                "teacher": labels.teacher,
                "features": labels.features,
                "k": labels.k,
                "accuracy": accuracy,
                "sd_seeds": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else np.nan,
                "random": random,
                "species": species,
                "position": (accuracy - random) / (species - random) if species != random else np.nan,
            }
        )
    columns = ["student", "teacher", "features", "k", "accuracy", "sd_seeds", "random", "species", "position"]
    return pd.DataFrame(standing, columns=columns).sort_values(
        ["student", "teacher", "features", "k"], ignore_index=True
    )


def _is(labels: Labels, kind: str) -> bool:
    return isinstance(labels, ControlLabels) and labels.kind == kind


def correct_answers(predictions_path: str | Path, primary: Primary) -> pd.Series:
    """Whether a model answered each query of the primary comparison right, by image_id, sorted."""
    table = read_table(predictions_path, PREDICTIONS)
    chosen = table[(table["taxa"] == primary.taxa) & (table["column"] == primary.column)]
    return (chosen[primary.measure] == chosen["label"]).set_axis(chosen["image_id"]).sort_index()


def paired_tests(
    predictions_paths: Mapping[str, str | Path],
    reference: str,
    others: list[str],
    primary: Primary,
    groups: pd.Series | None = None,
) -> dict[str, PairedComparison]:
    """The model `reference` against each of `others` on the queries of the primary comparison.

    Args:
        groups: the content group of every image, indexed by image_id: they are resampled whole.
    """
    of_reference = correct_answers(predictions_paths[reference], primary)
    members = None if groups is None else groups.reindex(of_reference.index).to_numpy()
    return {
        other: paired_comparison(
            of_reference.to_numpy(),
            correct_answers(predictions_paths[other], primary).to_numpy(),
            groups=members,
            draws=2_000,
        )
        for other in others
    }


def changes_by_training(results: Results, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """The `changes` table: how many answers of each trained student training fixed, and how many it broke.

    Args:
        pairs: split and trained model.
    """
    tables, before = [], {}
    for split, model in pairs:
        trained = Model.parse(model)
        assert trained is not None
        if (split, trained.student) not in before:
            before[split, trained.student] = _right_in_all(results, split, trained.student)
        joined = _right_in_all(results, split, model).join(before[split, trained.student][["right"]], rsuffix="_before")
        joined["fixed"] = joined["right"] & ~joined["right_before"]
        joined["broken"] = joined["right_before"] & ~joined["right"]
        counted = joined.groupby(["column", "label"]).agg(
            n_query=("right", "size"), fixed=("fixed", "sum"), broken=("broken", "sum")
        )
        tables.append(counted.reset_index().assign(split=split, model=model))
    columns = list(CHANGES.columns)
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _right_in_all(results: Results, split: str, model: str) -> pd.DataFrame:
    """Each query of All by species and genus: its label, and whether its nearest gallery image has it."""
    table = read_table(results.evaluation(split, model, "predictions"), PREDICTIONS)
    chosen = table[(table["taxa"] == "All") & (table["column"] != "taxa")].set_index(["column", "image_id"])
    return chosen[["label"]].assign(right=chosen["accuracy_individual"] == chosen["label"])


def best_on_clusters(comparison: pd.DataFrame, primary: Primary, encoders: Iterable[str]) -> list[list[str]]:
    """The students trained on clusters, best first by their mean over seeds: the models (seeds) of each."""
    rows = primary_rows(comparison, primary)
    found: dict[tuple[str, str], list[tuple[int, str, float]]] = {}
    for model, accuracy in zip(rows["model"], rows[primary.measure], strict=True):
        trained = Model.parse(model)
        if not trained or trained.percent < 100:
            continue
        if isinstance(parse_labels(trained.labels, encoders), ClusterLabels):
            found.setdefault((trained.student, trained.labels), []).append((trained.seed, model, accuracy))
    ranked = sorted(found.values(), key=lambda replicas: -float(np.mean([accuracy for *_, accuracy in replicas])))
    return [[model for _, model, _ in sorted(replicas)] for replicas in ranked]


def imported_rows(path: str | Path) -> pd.DataFrame:
    """Rows of the `comparison` table from a CSV with model, taxa, column and the four accuracies in percent.

    They are marked by the split `imported`; what such a table does not say is missing.

    Raises:
        DataError: the file is not such a table.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} (report.import): cannot be read as CSV ({first_line(error)}).") from error
    wanted = ["model", "taxa", "column", *MEASURES]
    if missing := [name for name in wanted if name not in table.columns]:
        raise DataError(f"{path} (report.import): the column {missing[0]} is missing; needed are {', '.join(wanted)}.")
    rows = table[wanted].astype({"model": str, "taxa": str, "column": str})
    for name in MEASURES:
        values = pd.to_numeric(rows[name], errors="coerce")
        bad = rows.index[~values.between(0, 100)]
        if len(bad):
            raise DataError(
                f"{path} (report.import): row {bad[0] + 2} has {name} {table[name][bad[0]]!r}; allowed are percentages "
                "from 0 to 100."
            )
        rows[name] = values / 100
    if rows.duplicated(["model", "taxa", "column"]).any():
        twice = rows[rows.duplicated(["model", "taxa", "column"])].iloc[0]
        raise DataError(
            f"{path} (report.import): {twice['model']}, {twice['taxa']}, {twice['column']} stands there twice."
        )
    return rows.assign(split=IMPORTED)
