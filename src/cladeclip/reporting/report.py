"""report.html: one self-contained page, made from tables alone, and the sentences that say what came out."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from cladeclip import __version__
from cladeclip.atomic import read_json
from cladeclip.clustering.quality import elbow
from cladeclip.errors import ConfigError
from cladeclip.evaluation.nearest_label import COLUMNS
from cladeclip.evaluation.significance import PairedComparison, PairedTest, holm
from cladeclip.evaluation.subsets import ALL
from cladeclip.names import ClusterLabels, ControlLabels, Model, parse_labels
from cladeclip.reporting.charts import accuracy_against_k, agreement_against_k, course_of_training, inertia_against_k
from cladeclip.reporting.comparison import (
    IMPORTED,
    UNCERTAINTY,
    Primary,
    best_on_clusters,
    paired_tests,
    primary_rows,
    standings,
)
from cladeclip.reporting.gallery_section import clusters, neighbours
from cladeclip.reporting.hierarchy_section import hierarchy_section
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import (
    CHANGES,
    CLASSES,
    COMPARISON,
    CONFUSIONS,
    IMAGES,
    KNN,
    PROBE,
    QUARANTINE,
    RETRIEVAL,
    SPLIT,
    ZERO_SHOT,
    read_table,
)

LEVEL = 0.05
SHOWN_PAIRS = 15
READ_OUTS = {
    "recall_at_1": "Recall@1",
    "recall_at_5": "Recall@5",
    "r_precision": "R-precision",
    "map_at_r": "mAP@R",
    "knn_5": "5-NN",
    "knn_20": "20-NN",
    "probe": "linear probe",
    "zero_shot_1": "zero-shot top 1",
    "zero_shot_5": "zero-shot top 5",
}
MEASURES = {
    "accuracy_individual": "nearest neighbour by cosine",
    "accuracy_avg": "highest mean cosine",
    "distance_individual": "nearest neighbour by distance",
    "distance_avg": "lowest mean distance",
}


def summarise(results: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The ranking of the primary comparison, the planned tests, and the sentences that follow from them.

    The planned tests compare the student of the primary k (the first student, teacher, features and seed of the config)
    with the same student untrained and with those trained on labels without meaning.
    """
    primary = Primary(**config["report"]["primary"])
    comparison = read_table(results / "comparison.parquet", COMPARISON)
    rows = primary_rows(comparison, primary)
    if rows.empty:
        known = ", ".join(sorted(set(comparison["taxa"])))
        raise ConfigError(f"config: report.primary.taxa is {primary.taxa!r}; the data has {known}.")
    ranking = [{"model": row.model, "accuracy": getattr(row, primary.measure)} for row in rows.itertuples()]
    main = primary_model(config)
    rivals = _planned_rivals(config, main, list(rows["model"]))
    ranked = best_on_clusters(comparison, primary, config["encoders"])
    best = ranked[0][0] if ranked else None
    images = read_table(results / "images.parquet", IMAGES).set_index("image_id")["content_group"]

    def against(reference: str | None, others: list[str]) -> dict[str, PairedComparison]:
        paths = {
            model: results / primary.split / "evaluation" / model / "predictions.parquet"
            for model in [reference, *others]
            if model
        }
        return paired_tests(paths, reference, others, primary, images) if reference else {}

    tests = against(main, rivals)
    of_best = against(best, _rivals_of_best(config, ranked, list(rows["model"])))
    corrected = dict(zip(of_best, holm([one.test.p_value for one in of_best.values()]), strict=True))
    standing = standings(comparison, primary, config["encoders"])
    return {
        "primary": asdict(primary),
        "n_query": int(rows["n_query"].iloc[0]),
        "ranking": ranking,
        "primary_model": main,
        "tests": {rival: asdict(one.test) for rival, one in tests.items()},
        "best": best,
        "best_against": [
            {
                "model": rival,
                "words": describe_model(rival, config),
                "difference": one.difference,
                "low": one.low,
                "high": one.high,
                "p_value": one.test.p_value,
                "p_holm": corrected[rival],
            }
            for rival, one in of_best.items()
        ],
        "standings": json.loads(standing.to_json(orient="records")),
        "sentences": [
            *_sentences(primary, rows, ranked, main, {rival: one.test for rival, one in tests.items()}, config),
            *_best_against(best, of_best, corrected, config),
            *_between_the_controls(standing),
        ],
    }


def primary_model(config: Mapping[str, Any]) -> str | None:
    """The trained student that the planned comparison is about; None where nothing is trained on clusters."""
    labels = config["labels"]
    if not (config["students"] and labels["teachers"] and labels["features"] and labels["k"]):
        return None
    name = ClusterLabels(labels["teachers"][0], labels["features"][0], config["report"]["primary"]["k"])
    return str(Model(config["students"][0], str(name), config["seeds"][0]))


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
    others = [
        f"{model} {of[model]:.1%}" for model in [*config["labels"]["teachers"], *config["students"]] if model in of
    ]
    sentences = [
        f"Best of {among} ({primary.split}, {primary.column}, {primary.taxa}){transductive}: "
        f"{best}{tied}, right for {accuracy:.1%} of {n_query} queries ({MEASURES[primary.measure]}"
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
        said += f"; sd over {'folds' if primary.split.startswith('holdout') else 'query draws'} {splits:.1%}"
    if pd.notna(seeds):
        said += f"; mean of {replicas} training seeds, sd {seeds:.1%}"
    return said


def describe_model(model: str, config: Mapping[str, Any]) -> str:
    """A model in words."""
    trained = Model.parse(model)
    encoders = config["encoders"]
    if trained is None:
        title = encoders[model].get("title", model)
        return f"the untrained student {model}" if model in config["students"] else title
    labels = parse_labels(trained.labels, encoders)
    if isinstance(labels, ControlLabels):
        taught = "labels without meaning" if labels.kind == "random" else f"{labels.kind} labels"
        return f"{trained.student} trained on {taught}"
    return f"{trained.student} trained on {labels.k} clusters of {labels.teacher} ({labels.features})"


def render_report(results: Path, config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The page as HTML; whatever comes from the data is escaped."""
    comparison = read_table(results / "comparison.parquet", COMPARISON)
    images = read_table(results / "images.parquet", IMAGES)
    primary = Primary(**config["report"]["primary"])
    qualities = _qualities(results, config)
    curves = _inertia_curves(qualities, config)
    pictures = Thumbnails(results / "store" / f"{config['train']['store_px']}.arrow")
    environment = Environment(
        loader=PackageLoader("cladeclip", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    models = [row["model"] for row in summary["ranking"]]
    read_outs = _read_outs(results, config, models)
    return environment.get_template("report.html").render(
        title=config["report"]["title"],
        dataset=config["dataset"]["name"],
        summary=summary,
        chart=accuracy_against_k(comparison, config, primary),
        measures=MEASURES,
        columns=COLUMNS,
        read_outs=read_outs,
        read_out_names={
            name: words for name, words in READ_OUTS.items() if any(row.get(name) is not None for row in read_outs)
        },
        confusions=_confusions(results, primary.split, summary["best"]),
        changes=_changes(results, primary.split, summary["best"]),
        classes=_classes(results, primary.split, summary["best"]),
        hierarchy=hierarchy_section(results, config, models, summary["best"], pictures),
        queries=neighbours(results, config, summary["best"], pictures),
        clusters=clusters(results, config, summary["best"], pictures),
        words={model: describe_model(model, config) for model in models},
        imported=bool((comparison["split"] == IMPORTED).any()),
        replicated=bool(comparison[[f"{column}_sd_seeds" for column in COLUMNS]].notna().any(axis=None)),
        rows=_rows(comparison, config),
        splits=[
            {"name": split, **read_table(results / split / "split.parquet", SPLIT)["part"].value_counts().to_dict()}
            for split in config["splits"]
        ],
        qualities=qualities,
        inertia_chart=inertia_against_k(curves) if len(curves) else "",
        agreement_chart=agreement_against_k(_agreement_curves(qualities, config)) if len(curves) else "",
        training_chart=_training_chart(results, primary.split, models),
        elbows=_elbows(curves),
        counts=_counts(images),
        names_not_binomial=int((images["name_kind"] != "species").sum()),
        quarantine=read_table(results / "quarantine.parquet", QUARANTINE).to_dict(orient="records"),
        config_as_run=json.dumps({key: config[key] for key in sorted(config)}, indent=2, ensure_ascii=False),
        version=__version__,
    )


def _read_outs(results: Path, config: Mapping[str, Any], models: list[str]) -> list[dict[str, Any]]:
    """Other measures of every model, for All by species and genus on the split of the primary comparison."""
    rows = []
    split = config["report"]["primary"]["split"]
    for model in models:
        folder = results / split / "evaluation" / model
        retrieval = read_table(folder / "retrieval.parquet", RETRIEVAL)
        knn = read_table(folder / "knn.parquet", KNN)
        probe = read_table(folder / "probe.parquet", PROBE).set_index("column")["micro"]
        names = folder / "zero_shot.parquet"
        named = read_table(names, ZERO_SHOT) if names.is_file() and config["eval"]["zero_shot"] else None
        for column in ("species", "genus"):
            found = retrieval[(retrieval["taxa"] == ALL) & (retrieval["column"] == column)].iloc[0]
            votes = knn[(knn["taxa"] == ALL) & (knn["column"] == column)].set_index(["k", "weighting"])["micro"]
            row = {name: float(found[name]) for name in ("recall_at_1", "recall_at_5", "r_precision", "map_at_r")}
            row |= {"knn_5": votes[5, "similarity"], "knn_20": votes[20, "similarity"], "probe": probe.get(column)}
            if named is not None:
                chosen = named[(named["taxa"] == ALL) & (named["column"] == column)].iloc[0]
                row |= {"zero_shot_1": chosen["top1"], "zero_shot_5": chosen["top5"]}
            shown = {name: None if value is None or np.isnan(value) else float(value) for name, value in row.items()}
            rows.append({"model": model, "words": describe_model(model, config), "column": column, **shown})
    return rows


def _confusions(results: Path, split: str, model: str | None) -> list[dict[str, Any]]:
    """The species that a model takes for each other most often."""
    if model is None:
        return []
    found = read_table(results / split / "evaluation" / model / "confusions.parquet", CONFUSIONS)
    found = found[found["column"] == "species"].sort_values(["n", "label", "predicted"], ascending=[False, True, True])
    return found.head(SHOWN_PAIRS).to_dict(orient="records")


def _classes(results: Path, split: str, model: str | None) -> list[dict[str, Any]]:
    """How often each species and genus is named right by a trained student, and by the same student before training."""
    trained = Model.parse(model) if model else None
    if trained is None:
        return []
    after, before = (
        read_table(results / split / "evaluation" / name / "classes.parquet", CLASSES)
        for name in (str(trained), trained.student)
    )
    columns = ["column", "label", "accuracy_individual"]
    found = after.merge(before[columns], on=["column", "label"], suffixes=("", "_before"), validate="one_to_one")
    found = found.sort_values(["column", "label"], ascending=[False, True])
    shown = ["column", "label", "n_query", "accuracy_individual", "accuracy_individual_before", "map_at_r"]
    return found[shown].to_dict(orient="records")


def _changes(results: Path, split: str, model: str | None) -> list[dict[str, Any]]:
    """The species of which a trained student's answers changed most."""
    if model is None:
        return []
    found = read_table(results / "changes.parquet", CHANGES)
    found = found[(found["split"] == split) & (found["model"] == model) & (found["column"] == "species")]
    found = found.assign(changed=found["fixed"] + found["broken"])
    found = found[found["changed"] > 0].sort_values(["changed", "label"], ascending=[False, True])
    return found.head(SHOWN_PAIRS).to_dict(orient="records")


def _rows(comparison: pd.DataFrame, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    ordered = comparison.sort_values(
        ["split", "column", "taxa", "accuracy_individual"], ascending=[True, True, True, False]
    )
    return [
        row | {"words": "imported" if row["split"] == IMPORTED else describe_model(row["model"], config)}
        for row in ordered.to_dict(orient="records")
    ]


def _qualities(results: Path, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for split in config["splits"]:
        for path in sorted((results / split / "clusters").glob("*.quality.json")):
            found.append({"split": split, "labels": path.name.removesuffix(".quality.json"), **read_json(path)})
    return sorted(found, key=lambda quality: (quality["split"], quality["n_labels"], quality["labels"]))


def _inertia_curves(qualities: list[dict[str, Any]], config: Mapping[str, Any]) -> pd.DataFrame:
    rows = []
    for quality in qualities:
        labels = parse_labels(quality["labels"], config["encoders"])
        if isinstance(labels, ClusterLabels):
            series = f"{labels.teacher} {labels.features}"
            rows.append({"split": quality["split"], "series": series, "k": labels.k, "inertia": quality["inertia"]})
    return pd.DataFrame(rows, columns=["split", "series", "k", "inertia"])


def _agreement_curves(qualities: list[dict[str, Any]], config: Mapping[str, Any]) -> pd.DataFrame:
    rows = []
    for quality in qualities:
        labels = parse_labels(quality["labels"], config["encoders"])
        if isinstance(labels, ClusterLabels):
            common = {"split": quality["split"], "series": f"{labels.teacher} {labels.features}", "k": labels.k}
            rows += [common | {"rank": rank, "nmi": quality[rank]["nmi"]} for rank in ("species", "genus")]
    return pd.DataFrame(rows)


def _training_chart(results: Path, split: str, models: list[str]) -> str:
    """The course of every training of a split; an empty text where there is none, or none took a step."""
    histories = []
    for model in sorted(model for model in models if Model.parse(model)):
        history = pd.read_csv(results / split / "checkpoints" / model / "training.csv")
        histories.append(history[["epoch", "loss", "target_cosine"]].assign(model=model))
    history = pd.concat(histories, ignore_index=True) if histories else pd.DataFrame()
    return course_of_training(history) if len(history) else ""


def _elbows(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """Where the inertia curve of each teacher's features bends, as far as it does."""
    bends = [
        {"split": split, "series": series, "k": elbow(curve["k"].tolist(), curve["inertia"].tolist())}
        for (split, series), curve in curves.groupby(["split", "series"], sort=False)
    ]
    return [bend for bend in bends if bend["k"] is not None]


def _counts(images: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for category, members in [*images.groupby("category"), ("All", images)]:
        species, groups = members["scientific_name"], members["content_group"]
        rows.append(
            {
                "category": category,
                "images": len(members),
                "species": species.nunique(),
                "genera": members["genus"].nunique(),
                "single": int((species.value_counts() == 1).sum()),
                "repeated": int(len(members) - groups.nunique()),
            }
        )
    return rows
