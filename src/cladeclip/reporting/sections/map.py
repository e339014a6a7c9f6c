"""The report's map of embeddings: every point a picture, drawn in the reader's browser by Vega."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from cladeclip.io.parquet import read_table
from cladeclip.names import Model
from cladeclip.paths import Results
from cladeclip.reporting.charts import PALETTE, map_of_embeddings
from cladeclip.reporting.shown import models_mapped
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import CLUSTERS, COMPARISON, EMBEDDINGS_MAP, IMAGES

SIDE_PX = 48
# Places are whole numbers from 0 to this: finer than a screen.
EXTENT = 2000
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
METHODS = {"tsne": "t-SNE", "pca": "PCA"}


def map_section(
    results: Results, config: Mapping[str, Any], words: Mapping[str, str], pictures: Thumbnails
) -> dict[str, Any] | None:
    """What map.js draws; None where there is no map.

    Returns:
        figure, the Chart for papers; and what goes to the page: methods; models (name, words, and under each method the
        places x and y, in the order of images); colours (what points can be coloured by: a name and a text an image);
        images (image_id, name, picture); and spec, the drawing, whose data come from the page.
    """
    path = Path(results.table("embeddings_map"))
    if not path.is_file():
        return None
    table = read_table(path, EMBEDDINGS_MAP)
    if table.empty:
        return None
    models = models_mapped(read_table(results.table("comparison"), COMPARISON), config)
    ids = table.loc[table["model"] == models[0], "image_id"].to_numpy()
    images = read_table(results.table("images"), IMAGES).set_index("image_id").loc[ids]
    colours = {
        "category": images["category"],
        "genus": images["genus"].replace("", "no genus"),
        "species": images["scientific_name"].replace("", "no species"),
    }
    split = config["report"]["primary"]["split"]
    for model in models:
        trained = Model.parse(model)
        if trained:
            labels = read_table(results.labels(split, trained.labels), CLUSTERS)
            found = labels.set_index("image_id")["label"].reindex(ids)
            colours[f"cluster ({trained.labels})"] = found.map(
                lambda label: "held out" if np.isnan(label) else f"cluster {label:.0f}"
            )
    return {
        "methods": METHODS,
        "models": [
            {"name": model, "words": words.get(model, model), **_places(table[table["model"] == model])}
            for model in models
        ],
        "colours": {name: list(values.astype(str)) for name, values in colours.items()},
        "images": [
            [image_id, name, pictures.of(image_id, SIDE_PX)]
            for image_id, name in zip(ids, images["scientific_name"], strict=True)
        ],
        "spec": _drawing(),
        "figure": map_of_embeddings(
            pd.concat(
                [
                    table.loc[table["model"] == model, ["model", "image_id", "tsne_1", "tsne_2"]].assign(
                        category=images["category"].to_numpy()
                    )
                    for model in models
                ],
                ignore_index=True,
            )
        ),
    }


def _places(table: pd.DataFrame) -> dict[str, list[list[int]]]:
    """The places of each method, scaled to EXTENT with both axes alike."""
    places = {}
    for method in METHODS:
        xy = table[[f"{method}_1", f"{method}_2"]].to_numpy(dtype=np.float64)
        lowest = xy.min(axis=0)
        span = (xy.max(axis=0) - lowest).max() or 1.0
        places[method] = np.rint((xy - lowest) / span * EXTENT).astype(int).T.tolist()
    return places


def _drawing() -> dict[str, Any]:
    """The scatter plot as Vega: its rows (x, y, colour, shape, faded, index) are given by map.js.

    Vega-Lite would work out everything of every point again whenever the window moves; here only its place is.
    """
    place = alt.Scale(domain=[-EXTENT / 40, EXTENT * 41 / 40], nice=False, zero=False)
    colours = alt.Scale(domain=list(range(len(PALETTE))), range=list(PALETTE))
    shapes = alt.Scale(domain=list(range(len(SHAPES))), range=list(SHAPES))
    drawing = (
        alt.Chart(alt.NamedData("points"))
        .mark_point(filled=True, size=45)
        .encode(
            x=alt.X("x:Q", axis=None, scale=place),
            y=alt.Y("y:Q", axis=None, scale=place),
            color=alt.Color("colour:N", scale=colours, legend=None),
            shape=alt.Shape("shape:N", scale=shapes, legend=None),
            opacity=alt.Opacity("faded:Q", scale=alt.Scale(domain=[0, 1], range=[0.85, 0.06]), legend=None),
            tooltip="index:Q",
        )
        .properties(width="container", height=480, background="transparent")
        .add_params(alt.selection_interval(bind="scales", name="window"))
        .configure(aria=False)
        .configure_view(stroke=None)
    )
    compiled = vl_convert.vegalite_to_vega(drawing.to_dict())
    (points,) = (mark for mark in compiled["marks"] if mark["type"] == "symbol")
    update = points["encode"]["update"]
    points["encode"] = {
        "enter": {name: value for name, value in update.items() if name not in ("x", "y")},
        "update": {name: update[name] for name in ("x", "y")},
    }
    return compiled
