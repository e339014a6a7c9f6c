"""What came out of a run: the ranking, the planned tests, and the sentences that say it. Made from tables alone."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from cladeclip.errors import ConfigError
from cladeclip.evaluation.measures import NAMED
from cladeclip.evaluation.protocol import ALL
from cladeclip.evaluation.significance import LEVEL, PairedComparison, PairedTest, holm
from cladeclip.io.parquet import read_table
from cladeclip.names import ClusterLabels, Model, Split, parse_labels
from cladeclip.paths import Results
from cladeclip.plan import primary_labels, teachers
from cladeclip.reporting.comparison import (
    UNCERTAINTY,
    Primary,
    best_on_clusters,
    paired_tests,
    primary_rows,
    standings,
)
from cladeclip.reporting.ways import Findings, HeldOut, all_at_once
from cladeclip.reporting.words import describe_model
from cladeclip.tables import COMPARISON, SPLIT


def summarise(results: Results, config: Mapping[str, Any]) -> dict[str, Any]:
    """The ranking of the primary comparison, the planned tests, and the sentences that follow from them.

    The planned tests compare the student of the primary k (the first student, teacher, features and seed of the config)
    with the same student untrained and with those trained on labels without meaning.
    """
    primary = Primary(**config["report"]["primary"])
    comparison = read_table(results.table("comparison"), COMPARISON)
    rows = primary_rows(comparison, primary)
    if rows.empty:
        known = ", ".join(sorted(set(comparison["taxa"])))
        raise ConfigError(f"config: report.primary.taxa is {primary.taxa!r}; the data has {known}.")
    ranking = [{"model": row.model, "accuracy": getattr(row, primary.measure)} for row in rows.itertuples()]
    main = primary_model(config)
    rivals = _planned_rivals(config, main, list(rows["model"]))
    ranked = best_on_clusters(comparison, primary, config["encoders"])
    best = ranked[0][0] if ranked else None
    groups = read_table(results.split(primary.split), SPLIT).set_index("image_id")["group"]

    def against(reference: str | None, others: list[str]) -> dict[str, PairedComparison]:
        paths = {
            model: results.evaluation(primary.split, model, "predictions") for model in [reference, *others] if model
        }
        return paired_tests(paths, reference, others, primary, groups) if reference else {}

    tests = against(main, rivals)
    of_best = against(best, _rivals_of_best(config, ranked, list(rows["model"])))
    corrected = _corrected(of_best)
    standing = standings(comparison, primary, config["encoders"])
    text = text_beside_image(config, list(rows["model"]))
    of_text = {model: against(model, [alone])[alone] for model, alone in text.items()}
    text_corrected = _corrected(of_text)
    held = HeldOut(results, config)
    of_ways = Findings(held)
    return {
        "primary": asdict(primary),
        "n_query": int(rows["n_query"].iloc[0]),
        "ranking": ranking,
        "primary_model": main,
        "tests": {rival: asdict(one.test) for rival, one in tests.items()},
        "best": best,
        "best_against": _differences(of_best, corrected, config),
        "text": [row | {"without": text[row["model"]]} for row in _differences(of_text, text_corrected, config)],
        "standings": json.loads(standing.to_json(orient="records")),
        "ways": of_ways.rows(),
        "advice": of_ways.advice(),
        "headline": _headline(primary, rows, ranked, of_best, corrected, config),
        "sentences": [
            *_sentences(primary, rows, ranked, main, {rival: one.test for rival, one in tests.items()}, config),
            *_best_against(best, of_best, corrected, config),
            *_between_the_controls(standing),
            *all_at_once(held, of_ways),
            *(_does_text_help(model, one, text_corrected[model], config) for model, one in of_text.items()),
        ],
    }


def _corrected(compared: Mapping[str, PairedComparison]) -> dict[str, float]:
    """Holm's p of each comparison among these."""
    return dict(zip(compared, holm([one.test.p_value for one in compared.values()]), strict=True))


def _differences(
    compared: Mapping[str, PairedComparison], corrected: Mapping[str, float], config: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row a comparison for a table of the page."""
    return [
        {
            "model": model,
            "words": describe_model(model, config),
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "p_value": one.test.p_value,
            "p_holm": corrected[model],
        }
        for model, one in compared.items()
    ]


def primary_model(config: Mapping[str, Any]) -> str | None:
    """The trained student that the planned comparison is about; None where nothing is trained on clusters."""
    labels = primary_labels(config)
    return (
        str(Model(config["students"][0], labels, config["seeds"]["training"][0]))
        if config["students"] and labels
        else None
    )


def _planned_rivals(config: Mapping[str, Any], main: str | None, models: list[str]) -> list[str]:
    if main is None:
        return []
    trained = Model.parse(main)
    assert trained is not None
    random = [
        str(Model(trained.student, control, trained.seed))
        for control in config["labels"]["controls"]
        if control.startswith("random")
    ]
    return [model for model in [trained.student, *random] if model in models]


def text_beside_image(config: Mapping[str, Any], models: list[str]) -> dict[str, str]:
    """Students on clusters of captions, or of pictures and captions: each with its twin on clusters of the pictures alone.

    Twins differ in the features alone: same student, teacher, k and seed.
    """
    twins = {}
    for model in models:
        trained = Model.parse(model)
        labels = parse_labels(trained.labels, config["encoders"]) if trained and trained.percent == 100 else None
        if trained is None or not isinstance(labels, ClusterLabels) or labels.features == "image":
            continue
        twin = str(Model(trained.student, str(ClusterLabels(labels.teacher, "image", labels.k)), trained.seed))
        if twin in models:
            twins[model] = twin
    return twins


def _does_text_help(model: str, one: PairedComparison, corrected: float, config: Mapping[str, Any]) -> str:
    trained = Model.parse(model)
    assert trained is not None
    labels = parse_labels(trained.labels, config["encoders"])
    assert isinstance(labels, ClusterLabels)
    verdict = "The captions help" if one.difference > 0 else "The captions do harm"
    if corrected >= LEVEL:
        verdict = "Whether the captions help cannot be told"
    return (
        f"{verdict}: {trained.student} on {labels.k} clusters of {labels.teacher}'s {labels.features} features is "
        f"{100 * one.difference:+.1f} points from the same on its image features (95 % interval {100 * one.low:+.1f} to "
        f"{100 * one.high:+.1f})."
    )


def _rivals_of_best(config: Mapping[str, Any], ranked: list[list[str]], models: list[str]) -> list[str]:
    """What the best student on clusters is tested against: the runner-up, its controls, and what was not trained here."""
    if not ranked:
        return []
    best = Model.parse(ranked[0][0])
    assert best is not None
    runner_up = [ranked[1][0]] if len(ranked) > 1 else []
    controls = [str(Model(best.student, control, best.seed)) for control in config["labels"]["controls"]]
    rivals = [*runner_up, best.student, *controls, *config["baselines"]]
    return [model for model in dict.fromkeys(rivals) if model in models]


# Where the queries of a protocol come from.
PROTOCOLS = {
    "all": "pictures that were also trained on",
    "holdout": "pictures that were kept from all training",
    "open": "pictures that were kept from all training, some of species never seen",
}


def _headline(
    primary: Primary,
    rows: pd.DataFrame,
    ranked: list[list[str]],
    of_best: Mapping[str, PairedComparison],
    corrected: Mapping[str, float],
    config: Mapping[str, Any],
) -> list[str]:
    """Two sentences: who won and how that was asked; by how much, and how that is beside what was not trained here."""
    of = dict(zip(rows["model"], rows[primary.measure], strict=True))
    best = ranked[0][0] if ranked else rows["model"].iloc[0]
    name, n_query = describe_model(best, config), int(rows["n_query"].iloc[0])
    taxa = "" if primary.taxa == ALL else f" ({primary.taxa})"
    measure, protocol = NAMED[primary.measure].title, PROTOCOLS[Split.parse(primary.split).protocol]
    asked = f"of {n_query} {protocol} ({primary.split}, {measure})"
    won = f"{name[0].upper()}{name[1:]} names the {primary.column}{taxa} right for {of[best]:.1%} {asked}"
    if not ranked:
        return [f"{won}, the best of {len(rows)} models.", "No student was trained on clusters in this run."]
    among = f"{len(ranked)} numbers and kinds of clusters" if len(ranked) > 1 else "the only clusters tried"
    runner_up = ranked[1][0] if len(ranked) > 1 else None
    margins = []
    if runner_up is not None and runner_up in of_best:
        margins.append(_margin(of_best, corrected, runner_up, f"the runner-up, {describe_model(runner_up, config)}"))
    student = Model.parse(best)
    assert student is not None
    if student.student in of_best:
        margins.append(_margin(of_best, corrected, student.student, "itself before training"))
    untrained = [rival for rival in of_best if Model.parse(rival) is None and rival != student.student]
    if untrained:
        strongest = max(untrained, key=lambda rival: of[rival])
        named = f"the best encoder that was not trained here, {describe_model(strongest, config)}"
        margins.append(_margin(of_best, corrected, strongest, named))
    if not margins:
        return [f"{won}, the best of {among}.", "There is nothing to compare it with."]
    *others, last = margins
    return [f"{won}, the best of {among}.", f"It is {', '.join(others)}, and {last}." if others else f"It is {last}."]


def _margin(of_best: Mapping[str, PairedComparison], corrected: Mapping[str, float], rival: str, named: str) -> str:
    """How far the best is ahead of a rival, and how sure that is."""
    one = of_best[rival]
    apart = "" if corrected[rival] < LEVEL else "; the two cannot be told apart"
    interval = f"95 % interval {100 * one.low:+.1f} to {100 * one.high:+.1f}{apart}"
    side = "ahead of" if one.difference >= 0 else "behind"
    return f"{abs(100 * one.difference):.1f} points {side} {named} ({interval})"


def _best_against(
    best: str | None,
    against: Mapping[str, PairedComparison],
    corrected: Mapping[str, float],
    config: Mapping[str, Any],
) -> list[str]:
    """A sentence on what the best of several beats, loses to, and cannot be told apart from."""
    if best is None or not against:
        return []
    outcome: dict[str, list[str]] = {"cannot be told apart from": [], "beats": [], "is worse than": []}
    for rival, one in against.items():
        verb = "beats" if one.difference > 0 else "is worse than"
        verb = verb if corrected[rival] < LEVEL else "cannot be told apart from"
        name = describe_model(rival, config)
        outcome[verb].append(f"{name} ({100 * one.difference:+.1f}, {100 * one.low:+.1f} to {100 * one.high:+.1f})")
    said = "; ".join(f"{verb} {', '.join(names)}" for verb, names in outcome.items() if names)
    return [
        f"As the best of several, {best} {said} (points of accuracy with 95 % intervals; McNemar's test, Holm-corrected "
        f"for {len(against)} comparisons)."
    ]


def _sentences(
    primary: Primary,
    rows: pd.DataFrame,
    ranked: list[list[str]],
    main: str | None,
    tests: Mapping[str, PairedTest],
    config: Mapping[str, Any],
) -> list[str]:
    of = dict(zip(rows["model"], rows[primary.measure], strict=True))
    n_query = int(rows["n_query"].iloc[0])
    means = [float(np.mean([of[model] for model in replicas])) for replicas in ranked]
    # Controls are what clusters are measured by, not candidates.
    if ranked:
        best, accuracy, among = ranked[0][0], means[0], f"{len(ranked)} students trained on clusters"
        equals = sum(mean == accuracy for mean in means) - 1
    else:
        best, accuracy, among = rows["model"].iloc[0], rows[primary.measure].iloc[0], f"{len(rows)} models"
        equals = int((rows[primary.measure] == accuracy).sum()) - 1
    tied = f" (and {equals} other{'s' if equals > 1 else ''} with the same score)" if equals else ""
    transductive = " (transductive: every picture was also seen in training)" if primary.split == "all" else ""
    others = [f"{model} {of[model]:.1%}" for model in [*teachers(config), *config["students"]] if model in of]
    sentences = [
        f"Best of {among} ({primary.split}, {primary.column}, {primary.taxa}){transductive}: "
        f"{best}{tied}, right for {accuracy:.1%} of {n_query} queries ({NAMED[primary.measure].title}"
        f"{_uncertainty(rows.set_index('model').loc[best], primary, len(ranked[0]) if ranked else 1)})"
        + (f"; for comparison, untrained: {', '.join(dict.fromkeys(others))}." if others else ".")
    ]
    if main is None:
        return sentences
    verdicts = []
    for rival, test in tests.items():
        name = describe_model(rival, config)
        if test.p_value >= LEVEL:
            verdicts.append(f"cannot be told apart from {name} ({of[rival]:.1%}, McNemar p = {test.p_value:.2g})")
        else:
            better = "beats" if test.difference > 0 else "is worse than"
            verdicts.append(f"{better} {name} ({of[rival]:.1%}, McNemar p = {test.p_value:.2g})")
    outcome = " and ".join(verdicts) or "has nothing to be compared with"
    sentences.append(f"The student of the primary k = {primary.k}, {main} ({of[main]:.1%}), {outcome}.")
    return sentences


def _between_the_controls(standing: pd.DataFrame) -> list[str]:
    """A sentence for each student and its clusters: where every k stands between the controls."""
    sentences = []
    for (student, teacher, features), rows in standing.groupby(["student", "teacher", "features"], sort=False):
        random, species = rows["random"].iloc[0], rows["species"].iloc[0]
        ends = f"between labels without meaning ({random:.1%}) and species labels ({species:.1%})"
        if species <= random:
            sentences.append(
                f"{student}: species labels teach no more than labels without meaning here, so nothing lies {ends}."
            )
            continue
        each = ", ".join(f"k = {row.k} at {row.position:.0%} ({row.accuracy:.1%})" for row in rows.itertuples())
        sentences.append(f"{student} on clusters of {teacher} ({features}), {ends}, stands with {each} of the way.")
    return sentences


def _uncertainty(row: pd.Series, primary: Primary, replicas: int) -> str:
    """The three kinds of uncertainty of an accuracy, each under its own name."""
    low, high, splits, seeds = (row[f"{primary.measure}_{kind}"] for kind in UNCERTAINTY)
    said = f"; 95 % interval over queries {low:.1%} to {high:.1%}" if pd.notna(low) else ""
    if pd.notna(splits):
        said += f"; sd over {'folds' if Split.parse(primary.split).is_holdout else 'query draws'} {splits:.1%}"
    if pd.notna(seeds):
        said += f"; mean of {replicas} training seeds, sd {seeds:.1%}"
    return said
