"""report.html: one self-contained page, made from tables alone."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined

from cladeclip import __version__
from cladeclip.errors import ConfigError
from cladeclip.evaluation.measures import NAMED, RETRIEVED
from cladeclip.evaluation.protocol import ALL
from cladeclip.io.parquet import read_table
from cladeclip.names import Model
from cladeclip.paths import Results
from cladeclip.plan import encoders_in_use, trainings
from cladeclip.reporting.charts import PALETTE, Chart, accuracy_against_k, accuracy_by_category, course_of_training
from cladeclip.reporting.comparison import IMPORTED, Primary
from cladeclip.reporting.findings import describe_model
from cladeclip.reporting.sections.data import data_section
from cladeclip.reporting.sections.gallery import clusters, neighbours
from cladeclip.reporting.sections.hierarchy import hierarchy_section
from cladeclip.reporting.sections.labels import labels_section
from cladeclip.reporting.sections.made import costs, git_commit, versions, weights_of
from cladeclip.reporting.sections.map import SHAPES, map_section
from cladeclip.reporting.sections.others import other_runs_section
from cladeclip.reporting.sections.species import species_section
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import COMPARISON, KNN, PROBE, RETRIEVAL, ZERO_SHOT

READ_OUTS = {
    **{name: measure.title for name, measure in RETRIEVED.items() if measure.shown},
    "knn_5": "5-NN",
    "knn_20": "20-NN",
    "probe": "linear probe",
    "zero_shot_1": "zero-shot top 1",
    "zero_shot_5": "zero-shot top 5",
}


@dataclass(frozen=True)
class Report:
    """The page as HTML, and the charts on it."""

    page: str
    charts: list[Chart]


def render_report(results: Results, config: Mapping[str, Any], summary: Mapping[str, Any]) -> Report:
    """The page, of at most `report.max_mb` MB; whatever comes from the data is escaped.

    Where it would be larger, pictures are left out from the end of the page on, and the page says how many.

    Raises:
        ConfigError: the tables and charts alone are larger.
    """
    store = Path(results.store(config["train"]["store_px"]))
    limit = config["report"]["max_mb"] * 1e6
    pictures = Thumbnails(store)
    report = _report(results, config, summary, pictures)
    size = len(report.page.encode())
    if size > limit:
        # What is said of the pictures that are left out takes room, too.
        report = _report(results, config, summary, Thumbnails(store, limit - (size - pictures.characters) - 1000))
        if (size := len(report.page.encode())) > limit:
            raise ConfigError(
                f"config: report.max_mb is {config['report']['max_mb']:g}, but the report takes {size / 1e6:.1f} MB "
                "without any picture; raise it."
            )
    return report


def _report(results: Results, config: Mapping[str, Any], summary: Mapping[str, Any], pictures: Thumbnails) -> Report:
    comparison = read_table(results.table("comparison"), COMPARISON)
    primary = Primary(**config["report"]["primary"])
    models, best = [row["model"] for row in summary["ranking"]], summary["best"]
    words = {model: describe_model(model, config) for model in [*models, *(model for _, model in trainings(config))]}
    compared = _compared(summary)
    labels = labels_section(results, config)
    hierarchy = hierarchy_section(results, config, list(words), best, pictures)
    charts = {
        "against_k": accuracy_against_k(comparison, config, primary),
        "by_category": accuracy_by_category(comparison, {name: words[name] for name in compared}, primary, ALL),
        "training": _training_chart(results, primary.split, models, compared),
        **labels["charts"],
        "coverage": hierarchy["chart"] if hierarchy else None,
    }
    read_outs = _read_outs(results, config, models)
    species = species_section(results, config, best, pictures)
    galleries = {
        "queries": neighbours(results, config, best, pictures),
        "clusters": clusters(results, config, best, pictures),
    }
    # The last of the page's pictures, since there are most of them: they are what is left out first.
    embeddings_map = map_section(results, config, words, pictures)
    figure = embeddings_map.pop("figure") if embeddings_map else None
    settings = json.dumps({key: config[key] for key in sorted(config)}, indent=2, ensure_ascii=False)
    page = (
        _environment()
        .get_template("report.html")
        .render(
            **_assets(with_map=embeddings_map is not None),
            **galleries,
            looked=any(query["looked"]["after"] for kind in galleries["queries"] for query in kind["queries"]),
            title=config["report"]["title"],
            dataset=config["dataset"]["name"],
            summary=summary,
            charts=charts,
            measures={name: measure.title for name, measure in NAMED.items()},
            words=words,
            rows=_rows(comparison, config),
            imported=bool((comparison["split"] == IMPORTED).any()),
            replicated=bool(comparison[[f"{column}_sd_seeds" for column in NAMED]].notna().any(axis=None)),
            others=other_runs_section(comparison, config["report"]["also"], primary),
            read_outs=read_outs,
            read_out_names={
                name: words for name, words in READ_OUTS.items() if any(row.get(name) is not None for row in read_outs)
            },
            species=species,
            map=embeddings_map,
            hierarchy=hierarchy,
            labels=labels,
            n_trained=sum(Model.parse(model) is not None for model in models),
            data=data_section(results, config, models, words),
            left_out=pictures.left_out,
            report_max_mb=f"{config['report']['max_mb']:g}",
            version=__version__,
            versions=versions(),
            commit=git_commit(Path(__file__).parent),
            weights=weights_of(encoders_in_use(config), Path(config["weights"])),
            costs=costs(Path(results.file("benchmarks"))).to_dict(orient="records"),
            settings=settings,
            dataset_root=config["dataset"]["root"],
        )
    )
    # On the page it is drawn by the reader's browser.
    charts["map"] = figure
    return Report(page, [chart for chart in charts.values() if chart is not None])


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("cladeclip", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _assets(with_map: bool) -> dict[str, Any]:
    """The page's style and scripts, and the Content-Security-Policy that lets these and no others work."""
    style, script = (files("cladeclip.reporting").joinpath(name).read_text() for name in ("report.css", "report.js"))
    scripts = [script]
    if with_map:
        scripts += [_vega(), files("cladeclip.reporting.sections").joinpath("map.js").read_text()]
    allowed = " ".join(map(_hash, scripts))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"style": style, "scripts": scripts, "policy": policy, "palette": PALETTE, "shapes": SHAPES}


@cache
def _vega() -> str:
    """Vega-Lite and what it needs, as window.vegaEmbed: 0.9 MB."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _compared(summary: Mapping[str, Any]) -> list[str]:
    """The models that charts with room for few show: the best one and what it was tested against."""
    if summary["best"]:
        chosen = [summary["best"], *(row["model"] for row in summary["best_against"])]
    else:
        chosen = [row["model"] for row in summary["ranking"]]
    return chosen[: len(PALETTE)]


def _read_outs(results: Results, config: Mapping[str, Any], models: list[str]) -> list[dict[str, Any]]:
    """Other measures of every model, for All by species and genus on the split of the primary comparison."""
    rows = []
    split = config["report"]["primary"]["split"]
    for model in models:
        retrieval = read_table(results.evaluation(split, model, "retrieval"), RETRIEVAL)
        knn = read_table(results.evaluation(split, model, "knn"), KNN)
        probe = read_table(results.evaluation(split, model, "probe"), PROBE).set_index("column")["micro"]
        names = Path(results.evaluation(split, model, "zero_shot"))
        named = read_table(names, ZERO_SHOT) if names.is_file() and config["eval"]["zero_shot"] else None
        for column in ("species", "genus"):
            of_column = retrieval[(retrieval["taxa"] == ALL) & (retrieval["column"] == column)]
            if of_column.empty:
                continue  # no name says a genus
            found = of_column.iloc[0]
            votes = knn[(knn["taxa"] == ALL) & (knn["column"] == column)].set_index(["k", "weighting"])["micro"]
            row = {name: float(found[name]) for name, measure in RETRIEVED.items() if measure.shown}
            row |= {"knn_5": votes[5, "similarity"], "knn_20": votes[20, "similarity"], "probe": probe.get(column)}
            if named is not None:
                chosen = named[(named["taxa"] == ALL) & (named["column"] == column)].iloc[0]
                row |= {"zero_shot_1": chosen["top1"], "zero_shot_5": chosen["top5"]}
            shown = {name: None if value is None or np.isnan(value) else float(value) for name, value in row.items()}
            rows.append({"model": model, "words": describe_model(model, config), "column": column, **shown})
    return rows


def _rows(comparison: pd.DataFrame, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    ordered = comparison.sort_values(
        ["split", "column", "taxa", "accuracy_individual"], ascending=[True, True, True, False]
    )
    return [
        row | {"words": "imported" if row["split"] == IMPORTED else describe_model(row["model"], config)}
        for row in ordered.to_dict(orient="records")
    ]


def _training_chart(results: Results, split: str, models: list[str], compared: list[str]) -> Chart | None:
    """The course of the trainings of a split; None where there is none, or none took a step.

    With more trainings than colours, only those compared.
    """
    trained = sorted(model for model in models if Model.parse(model))
    if len(trained) > len(PALETTE):
        trained = [model for model in trained if model in compared]
    histories = []
    for model in trained:
        history = pd.read_csv(results.checkpoint(split, model, "training.csv"))
        histories.append(history[["epoch", "loss", "target_cosine"]].assign(model=model))
    history = pd.concat(histories, ignore_index=True) if histories else pd.DataFrame()
    return course_of_training(history) if len(history) else None
