"""Charts as SVG: drawn by Vega-Lite when the report is made, so that the page needs no script and no network for them."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from cladeclip.names import ClusterLabels, ControlLabels, Model, parse_labels
from cladeclip.reporting.comparison import Primary

# Okabe and Ito's palette: told apart with any colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def accuracy_against_k(comparison: pd.DataFrame, config: Mapping[str, Any], primary: Primary) -> str:
    """The primary comparison's measure against k, a panel a split; models without k are horizontal lines."""
    chosen = comparison[(comparison["taxa"] == primary.taxa) & (comparison["column"] == primary.column)]
    points, lines = _points_and_lines(chosen, config, primary.measure)
    panels = [_panel(points, lines, split) for split in config["splits"]]
    chart = _wrapped(panels).resolve_scale(y="shared", color="shared", strokeDash="shared")
    return vl_convert.vegalite_to_svg(chart.to_dict())


def inertia_against_k(curves: pd.DataFrame) -> str:
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
    chart = _wrapped(panels).resolve_scale(color="shared")
    return vl_convert.vegalite_to_svg(chart.to_dict())


def agreement_against_k(curves: pd.DataFrame) -> str:
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
    chart = _wrapped(panels).resolve_scale(color="shared", strokeDash="shared")
    return vl_convert.vegalite_to_svg(chart.to_dict())


def course_of_training(history: pd.DataFrame) -> str:
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
    return vl_convert.vegalite_to_svg(alt.hconcat(*panels).to_dict())


def accuracy_against_coverage(curves: pd.DataFrame) -> str:
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
    return vl_convert.vegalite_to_svg(
        alt.vconcat(*rows).configure_legend(orient="bottom", direction="vertical").to_dict()
    )


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
    return vl_convert.vegalite_to_svg(alt.layer(dots, line).properties(width=480, height=280).to_dict())


def _wrapped(panels: list[Any]) -> Any:
    """Two panels a row: more would be wider than the page."""
    return alt.concat(*panels, columns=2)


def _k_axis(points: pd.DataFrame) -> Any:
    ks = sorted(int(k) for k in points["k"].unique()) or [1]
    return alt.X(
        "k:Q",
        title="number of clusters k",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(values=ks, format="d"),
    )


def _points_and_lines(
    chosen: pd.DataFrame, config: Mapping[str, Any], measure: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    points, lines = [], []
    for row in chosen.to_dict(orient="records"):
        trained = Model.parse(row["model"])
        labels = parse_labels(trained.labels, config["encoders"]) if trained else None
        common = {"split": row["split"], "accuracy": row[measure]}
        if trained and isinstance(labels, ClusterLabels):
            series = f"{trained.student} on {labels.teacher} {labels.features}"
            points.append(common | {"k": labels.k, "series": series, "seed": trained.seed})
        elif trained and isinstance(labels, ControlLabels):
            lines.append(common | {"name": f"{trained.student} on {labels}"})
        else:
            untrained = " untrained" if row["model"] in config["students"] else ""
            lines.append(common | {"name": row["model"] + untrained})
    return (
        pd.DataFrame(points, columns=["split", "accuracy", "k", "series", "seed"]),
        pd.DataFrame(lines, columns=["split", "accuracy", "name"]),
    )


def _panel(points: pd.DataFrame, lines: pd.DataFrame, split: str) -> Any:
    y = alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False, nice=True))
    x = _k_axis(points)
    colour = alt.Color("series:N", title="trained", scale=alt.Scale(range=list(PALETTE)))
    of_split = points[points["split"] == split]
    line = (
        alt.Chart(of_split)
        .mark_line(strokeWidth=2)
        .encode(x=x, y=alt.Y("mean(accuracy):Q", title="accuracy"), color=colour)
    )
    dots = alt.Chart(of_split).mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour)
    rules = (
        alt.Chart(lines[lines["split"] == split])
        .mark_rule(strokeWidth=1.5, color="#555")
        .encode(y=y, strokeDash=alt.StrokeDash("name:N", title="for comparison"))
    )
    return alt.layer(rules, line, dots).properties(width=360, height=280, title=split)
