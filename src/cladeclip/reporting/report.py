"""report.html: one self-contained page, made from tables alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert

from cladeclip import __version__
from cladeclip.errors import ConfigError
from cladeclip.evaluation.measures import NAMED
from cladeclip.evaluation.protocol import ALL
from cladeclip.io.parquet import read_table
from cladeclip.names import Model
from cladeclip.paths import Results
from cladeclip.plan import encoders_in_use, trainings
from cladeclip.reporting.charts import PALETTE, Chart, accuracy_against_k, accuracy_by_category
from cladeclip.reporting.comparison import Primary
from cladeclip.reporting.pages import asset, environment, policy
from cladeclip.reporting.sections.data import data_section
from cladeclip.reporting.sections.gallery import clusters, neighbours
from cladeclip.reporting.sections.hierarchy import hierarchy_section
from cladeclip.reporting.sections.labels import labels_section
from cladeclip.reporting.sections.made import costs, git_commit, versions, weights_of
from cladeclip.reporting.sections.map import SHAPES, map_section
from cladeclip.reporting.sections.models import models_section
from cladeclip.reporting.sections.others import other_runs_section
from cladeclip.reporting.sections.species import species_section
from cladeclip.reporting.sections.training import training_chart
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.reporting.words import describe_model
from cladeclip.tables import COMPARISON


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
        "training": training_chart(results, primary.split, models, compared),
        **labels["charts"],
        "coverage": hierarchy["chart"] if hierarchy else None,
    }
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
        environment()
        .get_template("report.html")
        .render(
            **_assets(with_map=embeddings_map is not None),
            **galleries,
            looked=any(query["looked"]["after"] for kind in galleries["queries"] for query in kind["queries"]),
            title=config["report"]["title"],
            dataset=config["dataset"]["name"],
            summary=summary,
            margin=config["report"]["margin"],
            interpolated=bool(config["train"]["interpolate"]),
            charts=charts,
            measures={name: measure.title for name, measure in NAMED.items()},
            words=words,
            **models_section(results, config, comparison, models),
            others=other_runs_section(comparison, config["report"]["also"], primary),
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


def _assets(with_map: bool) -> dict[str, Any]:
    """The page's style and scripts, and its policy."""
    style, scripts = asset("report.css"), [asset("page.js"), asset("report.js")]
    if with_map:
        scripts += [_vega(), asset("sections/map.js")]
    return {"style": style, "scripts": scripts, "policy": policy(style, scripts), "palette": PALETTE, "shapes": SHAPES}


@cache
def _vega() -> str:
    """Vega-Lite and what it needs, as window.vegaEmbed: 0.9 MB."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _compared(summary: Mapping[str, Any]) -> list[str]:
    """The models that charts with room for few show: the best one and what it was tested against."""
    if summary["best"]:
        chosen = [summary["best"], *(row["model"] for row in summary["best_against"])]
    else:
        chosen = [row["model"] for row in summary["ranking"]]
    return chosen[: len(PALETTE)]
