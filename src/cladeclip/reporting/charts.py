"""Charts: drawn by Vega-Lite when the report is made, so that the page needs no script and no network for them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from cladeclip.io.atomic import atomic_path, write_text
from cladeclip.io.spreadsheets import without_formulas
from cladeclip.names import ClusterLabels, Model, parse_labels
from cladeclip.reporting.comparison import Primary

# Okabe and Ito's palette: told apart with any colour vision. Grey in place of their black, which is lost on a dark page.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#808080")


@dataclass(frozen=True)
class Chart:
    """A figure of the report.

    Attributes:
        name: of its files.
        drawing: what Altair draws.
        data: the numbers that are drawn.
    """

    name: str
    drawing: Any
    data: pd.DataFrame

    def on_page(self) -> str:
        """As SVG without a background, lines and texts in the colour of the text around it."""
        return vl_convert.vegalite_to_svg(self._specification(), config=_theme("currentColor", "transparent"))

    def svg(self) -> str:
        """As SVG, black on white."""
        return vl_convert.vegalite_to_svg(self._specification(), config=_theme("#222", "white"))

    def pdf(self) -> bytes:
        return vl_convert.vegalite_to_pdf(self._specification(), config=_theme("#222", "white"))

    def csv(self) -> str:
        return without_formulas(self.data)

    def _specification(self) -> dict[str, Any]:
        """In Vega-Lite, with however many rows: Altair's limit of 5,000 is meant for notebooks."""
        with alt.data_transformers.disable_max_rows():
            return self.drawing.to_dict()


def _theme(ink: str, paper: str) -> dict[str, Any]:
    words = {"labelColor": ink, "titleColor": ink}
    axis = {**words, "domainColor": ink, "tickColor": ink, "gridColor": ink, "gridOpacity": 0.15}
    return {
        "background": paper,
        # Texts are measured in Arial here; a reader's sans-serif may be wider, and what passes the edge is cut off.
        "padding": {"left": 5, "top": 5, "right": 40, "bottom": 5},
        "axis": axis,
        "legend": {**words, "symbolStrokeColor": ink},
        "title": {"color": ink},
        "header": words,
        "rule": {"color": ink},
        "view": {"stroke": None},
    }


def write_figures(folder: str | Path, charts: Iterable[Chart]) -> None:
    """Every chart as NAME.svg and NAME.pdf, and its numbers as NAME.csv."""
    folder = Path(folder)
    for chart in charts:
        write_text(folder / f"{chart.name}.svg", chart.svg())
        with atomic_path(folder / f"{chart.name}.pdf") as path:
            path.write_bytes(chart.pdf())
        write_text(folder / f"{chart.name}.csv", chart.csv())


def accuracy_against_k(comparison: pd.DataFrame, config: Mapping[str, Any], primary: Primary) -> Chart:
    """The primary comparison's measure against k, a panel a split; models without k are horizontal lines."""
    chosen = comparison[(comparison["taxa"] == primary.taxa) & (comparison["column"] == primary.column)]
    points, lines = _points_and_lines(chosen, config, primary.measure)
    panels = [_panel(points, lines, split) for split in config["splits"]]
    drawing = _wrapped(panels).resolve_scale(y="shared", color="shared", strokeDash="shared")
    columns = ["split", "name", "k", "seed", "accuracy", "low", "high"]
    return Chart("accuracy-against-k", drawing, pd.concat([points, lines], ignore_index=True)[columns])


def accuracy_by_category(
    comparison: pd.DataFrame, models: Mapping[str, str], primary: Primary, everything: str
) -> Chart:
    """The primary comparison within each category, a bar a model with its 95 % interval over queries.

    Args:
        models: those that are drawn, in this order, and their names in words.
        everything: the value of `taxa` that stands for all categories.
    """
    chosen = comparison[(comparison["split"] == primary.split) & (comparison["column"] == primary.column)]
    chosen = chosen[(chosen["taxa"] != everything) & chosen["model"].isin(models)]
    data = pd.DataFrame(
        {
            "category": chosen["taxa"],
            "model": chosen["model"],
            "name": chosen["model"].map(models),
            "accuracy": chosen[primary.measure].astype(float),
            "low": chosen[f"{primary.measure}_low"].astype(float),
            "high": chosen[f"{primary.measure}_high"].astype(float),
            "n_query": chosen["n_query"].astype(int),
        }
    )
    order = list(models.values())
    legend = alt.Legend(labelLimit=600, orient="bottom", direction="vertical")
    base = alt.Chart(data).encode(
        x=alt.X("category:N", title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("name:N", sort=order),
    )
    axis = alt.Axis(format="%")
    bars = base.mark_bar().encode(
        y=alt.Y("accuracy:Q", title="accuracy", axis=axis),
        color=alt.Color("name:N", title="model", sort=order, legend=legend, scale=alt.Scale(range=list(PALETTE))),
    )
    intervals = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title="accuracy", axis=axis), y2="high:Q")
    return Chart("accuracy-by-category", alt.layer(bars, intervals).properties(width=640, height=260), data)


def cluster_sizes(sizes: pd.DataFrame) -> Chart:
    """The number of pictures in each cluster, the largest first: a line for each set of labels.

    Args:
        sizes: columns labels, place (1 is the largest), size.
    """
    order = list(dict.fromkeys(sizes["labels"]))
    drawing = (
        alt.Chart(sizes)
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(
            x=alt.X("place:Q", title="cluster, the largest first", scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("size:Q", title="pictures", scale=alt.Scale(type="log")),
            color=alt.Color(
                "labels:N",
                title="labels",
                sort=order,
                legend=alt.Legend(labelLimit=400),
                scale=alt.Scale(range=list(PALETTE)),
            ),
        )
        .properties(width=480, height=220)
    )
    return Chart("cluster-sizes", drawing, sizes)


def inertia_against_k(curves: pd.DataFrame) -> Chart:
    """The inertia against k, a panel a split and a line for each teacher's features.

    Args:
        curves: columns split, series, k, inertia.
    """
    colour = alt.Color("series:N", title="clusters of", scale=alt.Scale(range=list(PALETTE)))
    panels = []
    for split, of_split in curves.groupby("split", sort=False):
        y = alt.Y("inertia:Q", title="inertia", scale=alt.Scale(zero=True))
        encoded = alt.Chart(of_split).encode(x=_k_axis(of_split), y=y, color=colour)
        lines, dots = encoded.mark_line(strokeWidth=2), encoded.mark_point(filled=True, size=70, opacity=1)
        panels.append(alt.layer(lines, dots).properties(width=360, height=180, title=str(split)))
    return Chart("inertia-against-k", _wrapped(panels).resolve_scale(color="shared"), curves)


def agreement_against_k(curves: pd.DataFrame) -> Chart:
    """NMI of clusters with species and genera against k, a panel a split.

    Args:
        curves: columns split, series, k, nmi, rank.
    """
    colour = alt.Color("series:N", title="clusters of", scale=alt.Scale(range=list(PALETTE)))
    y = alt.Y("nmi:Q", title="NMI", scale=alt.Scale(domain=[0, 1]))
    panels = []
    for split, of_split in curves.groupby("split", sort=False):
        encoded = alt.Chart(of_split).encode(x=_k_axis(of_split), y=y, color=colour)
        lines = encoded.mark_line(strokeWidth=2).encode(strokeDash=alt.StrokeDash("rank:N", sort=["species", "genus"]))
        dots = encoded.mark_point(filled=True, size=70, opacity=1).encode(detail="rank:N")
        panels.append(alt.layer(lines, dots).properties(width=360, height=180, title=str(split)))
    return Chart("agreement-against-k", _wrapped(panels).resolve_scale(color="shared", strokeDash="shared"), curves)


def course_of_training(history: pd.DataFrame) -> Chart:
    """The loss and the cosine to the own class's centre, mean of each epoch's logged steps, a line a training.

    Args:
        history: columns model, epoch, loss, target_cosine.
    """
    means = history.groupby(["model", "epoch"], sort=False)[["loss", "target_cosine"]].mean().reset_index()
    models = list(dict.fromkeys(history["model"]))
    legend = alt.Legend(labelLimit=500, orient="bottom", direction="vertical")
    colour = alt.Color("model:N", title="training", sort=models, legend=legend, scale=alt.Scale(range=list(PALETTE)))
    base = alt.Chart(means).encode(x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")), color=colour)
    panels = [
        base.mark_line(strokeWidth=2, point=True)
        .encode(y=alt.Y(f"{column}:Q", title=title, scale=alt.Scale(zero=False)))
        .properties(width=360, height=200)
        for column, title in (("loss", "loss"), ("target_cosine", "cosine to the own centre"))
    ]
    return Chart("training", alt.hconcat(*panels), means)


def accuracy_against_coverage(curves: pd.DataFrame) -> Chart:
    """The accuracy when only the most confident share is answered: a panel a rank, a row of panels a split.

    Args:
        curves: columns split, model, rank, coverage, accuracy.
    """
    models = list(dict.fromkeys(curves["model"]))
    # The same title, order and legend: one legend for colour and dashes.
    title, legend = "embeddings of", alt.Legend(labelLimit=400, symbolSize=400)
    colour = alt.Color("model:N", title=title, sort=models, legend=legend, scale=alt.Scale(range=list(PALETTE)))
    dash = alt.StrokeDash("model:N", title=title, sort=models, legend=legend)
    share = alt.X("coverage:Q", title="share answered", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("accuracy:Q", title="right of the answered", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    rows = []
    for split, of_split in curves.groupby("split", sort=False):
        panels = [
            alt.Chart(of_rank)
            .mark_line(strokeWidth=2, interpolate="step-before")
            .encode(x=share, y=y, color=colour, strokeDash=dash)
            .properties(width=230, height=200, title=f"{rank} ({split})")
            for rank, of_rank in of_split.groupby("rank", sort=False)
        ]
        rows.append(alt.hconcat(*panels))
    drawing = alt.vconcat(*rows).configure_legend(orient="bottom", direction="vertical")
    return Chart("accuracy-against-coverage", drawing, curves)


def map_of_embeddings(points: pd.DataFrame) -> Chart:
    """Pictures on the plane by t-SNE, a panel a model, coloured and shaped by category; for papers.

    Args:
        points: columns model, image_id, tsne_1, tsne_2, category.
    """
    order = sorted(set(points["category"]))
    panels = []
    for model, of_model in points.groupby("model", sort=False):
        panel = alt.Chart(of_model).mark_point(filled=True, size=14, opacity=0.8)
        panel = panel.encode(
            x=alt.X("tsne_1:Q", axis=None, scale=alt.Scale(zero=False)),
            y=alt.Y("tsne_2:Q", axis=None, scale=alt.Scale(zero=False)),
            color=alt.Color("category:N", title="category", sort=order, scale=alt.Scale(range=list(PALETTE))),
            shape=alt.Shape("category:N", title="category", sort=order),
        )
        panels.append(panel.properties(width=320, height=320, title=str(model)))
    return Chart("map-of-embeddings", _wrapped(panels).resolve_scale(color="shared", shape="shared"), points)


def loss_against_lr(steps: pd.DataFrame) -> str:
    """The learning-rate range test: the loss of each step and its smoothed course.

    Args:
        steps: columns lr_encoder, loss, smoothed_loss.
    """
    rate = alt.X(
        "lr_encoder:Q", title="learning rate of the encoder", scale=alt.Scale(type="log"), axis=alt.Axis(format="~e")
    )
    chart = alt.Chart(steps).encode(x=rate)
    dots = chart.mark_point(filled=True, size=14, color="#999").encode(
        y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False))
    )
    line = chart.mark_line(strokeWidth=2, color=PALETTE[0]).encode(y=alt.Y("smoothed_loss:Q", title="loss"))
    drawing = alt.layer(dots, line).properties(width=480, height=280)
    return Chart("loss-against-lr", drawing, steps).svg()


def _wrapped(panels: list[Any]) -> Any:
    """Two panels a row: more would be wider than the page."""
    return alt.concat(*panels, columns=2)


def _k_axis(points: pd.DataFrame) -> Any:
    ks = sorted(int(k) for k in points["k"].unique()) or [1]
    # The same on every panel, also where a split has one k alone.
    domain = [ks[0], ks[-1]] if len(ks) > 1 else alt.Undefined
    return alt.X(
        "k:Q",
        title="number of clusters k",
        scale=alt.Scale(type="log", nice=False, padding=12, domain=domain),
        axis=alt.Axis(values=ks, format="d"),
    )


def _points_and_lines(
    chosen: pd.DataFrame, config: Mapping[str, Any], measure: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    points, lines = [], []
    for row in chosen.to_dict(orient="records"):
        trained = Model.parse(row["model"])
        if trained and trained.percent < 100:
            continue
        labels = parse_labels(trained.labels, config["encoders"]) if trained else None
        common = {"split": row["split"], "accuracy": row[measure]}
        common |= {side: row[f"{measure}_{side}"] for side in ("low", "high")}
        if trained and isinstance(labels, ClusterLabels):
            series = f"{trained.student} on {labels.teacher} {labels.features}"
            points.append(common | {"k": labels.k, "name": series, "seed": trained.seed})
        elif trained:
            lines.append(common | {"name": f"{trained.student} on {labels}"})
        else:
            untrained = " untrained" if row["model"] in config["students"] else ""
            lines.append(common | {"name": row["model"] + untrained})
    return (
        pd.DataFrame(points, columns=["split", "accuracy", "low", "high", "k", "name", "seed"]),
        pd.DataFrame(lines, columns=["split", "accuracy", "low", "high", "name"]),
    )


def _panel(points: pd.DataFrame, lines: pd.DataFrame, split: str) -> Any:
    y = alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False, nice=True))
    x = _k_axis(points)
    legend = alt.Legend(labelLimit=400)
    colour = alt.Color("name:N", title="trained", legend=legend, scale=alt.Scale(range=list(PALETTE)))
    of_split = points[points["split"] == split]
    line = (
        alt.Chart(of_split)
        .mark_line(strokeWidth=2)
        .encode(x=x, y=alt.Y("mean(accuracy):Q", title="accuracy"), color=colour)
    )
    dots = alt.Chart(of_split).mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour)
    y_low = alt.Y("low:Q", title="accuracy")
    intervals = (
        alt.Chart(of_split).mark_rule(strokeWidth=1.5, opacity=0.6).encode(x=x, y=y_low, y2="high:Q", color=colour)
    )
    rules = (
        alt.Chart(lines[lines["split"] == split])
        .mark_rule(strokeWidth=1.5)
        .encode(y=y, strokeDash=alt.StrokeDash("name:N", title="for comparison"))
    )
    return alt.layer(rules, intervals, line, dots).properties(width=360, height=280, title=split)
