"""Every figure with more rows than any library's default limit."""

import re

import numpy as np
import pandas as pd
import pytest

from cladeclip.reporting import charts
from cladeclip.reporting.comparison import Primary

# Altair refuses 5,001 rows, unless it is told otherwise.
MANY = 5_001
LETTERS = np.array(list("abc"))[np.arange(MANY) % 3]
NUMBERS = np.linspace(0.01, 1, MANY)
PRIMARY = Primary(k=2, column="species", taxa="All", measure="accuracy_individual", split="all")


def comparison(taxa):
    measure = {f"accuracy_individual{side}": NUMBERS for side in ("", "_low", "_high")}
    models = [f"it.teacher-image-k{k}.seed5" for k in range(2, MANY + 2)]
    return pd.DataFrame({"split": "all", "taxa": taxa, "column": "species", "model": models, "n_query": 9, **measure})


def against_k():
    config = {"splits": ["all"], "encoders": {"teacher": {}}, "students": ["it"]}
    return charts.accuracy_against_k(comparison("All"), config, PRIMARY)


def by_category():
    table = comparison("Fish")
    table["model"] = [f"m{i % 3}" for i in range(MANY)]
    return charts.accuracy_by_category(table, {f"m{i}": f"model {i}" for i in range(3)}, PRIMARY, "All")


def cluster_sizes():
    table = pd.DataFrame({"labels": LETTERS, "place": np.arange(1, MANY + 1), "size": np.arange(MANY, 0, -1)})
    return charts.cluster_sizes(table)


def curves(column):
    return pd.DataFrame(
        {"split": "all", "series": LETTERS, "k": np.arange(2, MANY + 2), column: NUMBERS, "rank": "species"}
    )


def training():
    steps = {"model": LETTERS, "epoch": np.arange(MANY), "loss": NUMBERS, "target_cosine": NUMBERS}
    return charts.course_of_training(pd.DataFrame(steps))


def coverage():
    table = {"split": "open-0", "model": LETTERS, "rank": "species", "coverage": NUMBERS, "accuracy": NUMBERS}
    return charts.accuracy_against_coverage(pd.DataFrame(table))


def map_of_embeddings():
    places = {"tsne_1": NUMBERS, "tsne_2": NUMBERS, "category": LETTERS}
    return charts.map_of_embeddings(pd.DataFrame({"model": "it", "image_id": LETTERS, **places}))


FIGURES = {
    "accuracy_against_k": against_k,
    "accuracy_by_category": by_category,
    "cluster_sizes": cluster_sizes,
    "inertia_against_k": lambda: charts.inertia_against_k(curves("inertia")),
    "agreement_against_k": lambda: charts.agreement_against_k(curves("nmi")),
    "course_of_training": training,
    "accuracy_against_coverage": coverage,
    "map_of_embeddings": map_of_embeddings,
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_with_more_rows_than_a_notebook_allows(name):
    chart = FIGURES[name]()
    assert len(chart.data) >= MANY
    assert chart.svg().startswith("<svg")


def test_every_point_of_the_map_is_in_its_files():
    chart = map_of_embeddings()
    assert len(re.findall('aria-roledescription="point"', chart.svg())) == MANY
    assert chart.pdf().startswith(b"%PDF")
    assert chart.csv().count("\n") == MANY + 1


def test_the_range_test_of_the_learning_rate_is_drawn_with_as_many_steps():
    steps = pd.DataFrame({"lr_encoder": NUMBERS, "loss": NUMBERS, "smoothed_loss": NUMBERS})
    assert charts.loss_against_lr(steps).startswith("<svg")


def test_no_figure_is_forgotten():
    """A function that draws is in the list above, or has a test of its own."""
    drawing = {
        name for name, it in vars(charts).items() if getattr(it, "__annotations__", {}).get("return") in (charts.Chart,)
    }
    assert drawing == set(FIGURES)
