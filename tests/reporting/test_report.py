import copy
import html
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY

from cladeclip.clustering.quality import label_quality
from cladeclip.datasets.splits import make_split
from cladeclip.errors import ConfigError
from cladeclip.evaluation.evaluate import evaluate
from cladeclip.evaluation.significance import holm
from cladeclip.io.atomic import write_json, write_text
from cladeclip.io.embeddings import write_embeddings
from cladeclip.io.parquet import write_table
from cladeclip.paths import Results
from cladeclip.reporting.charts import course_of_training
from cladeclip.reporting.comparison import CSV_COLUMNS, changes_by_training, comparison_csv, comparison_table
from cladeclip.reporting.findings import summarise, text_beside_image
from cladeclip.reporting.report import render_report
from cladeclip.tables import CHANGES, CLUSTERS, COMPARISON, EVALUATION, IMAGES, NAMES, QUARANTINE, SPLIT

CONFIG = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text()) | {
    "students": ["vit-b-32"],
    "splits": ["holdout-0"],
    "labels": {
        "teachers": ["handmade"],
        "features": ["image"],
        "k": [9, 18],
        "also": [],
        "controls": ["random-k9"],
        "only": {},
    },
}
CONFIG["report"] = {**CONFIG["report"], "title": "Which k?", "primary": {**CONFIG["report"]["primary"], "k": 9}}
HOSTILE = "<img src=x onerror=alert(1)>"
# How well each model separates species: the spread of its embeddings around their species' centre.
SPREAD = {
    "vit-b-32.handmade-image-k9.seed5": 0.2,
    "vit-b-32.handmade-image-k18.seed5": 1.5,
    "vit-b-32.random-k9.seed5": 3.0,
    "vit-b-32": 3.0,
    "handmade": 0.0,
}


def names_of(images):
    """The `names` table of images whose names are taken as they are."""
    names = (
        images.groupby("name_as_written").agg(label=("scientific_name", "first"), n=("image_id", "size")).reset_index()
    )
    return names.assign(rank="", accepted="", genus="", kind="species")


def results_of(folder, images, spread):
    """The tables of a finished run, made from embeddings of known quality."""
    (folder / "holdout-0" / "clusters").mkdir(parents=True)
    split = make_split(images, "holdout-0", test_share=0.34, seed=5)
    write_table(folder / "images.parquet", IMAGES, images, {})
    write_table(folder / "holdout-0" / "split.parquet", SPLIT, split, {})
    bad = pd.DataFrame({"image_id": [f"Fish/images/{HOSTILE}.jpg"], "reason": ["truncated"], "detail": ["</script>"]})
    write_table(folder / "quarantine.parquet", QUARANTINE, bad, {})
    write_table(folder / "names.parquet", NAMES, names_of(images), {})
    rng = np.random.default_rng(0)
    centres = {name: rng.normal(size=12) for name in sorted(set(images["scientific_name"]))}
    models = [("holdout-0", model) for model in spread]
    for model, width in spread.items():
        noise = np.random.default_rng(1).normal(size=(len(images), 12))
        embeddings = np.stack([centres[name] for name in images["scientific_name"]]) + width * noise
        found = evaluate(images, embeddings.astype(np.float32), split, protocol="holdout-0", query_share=0.34, seed=5)
        ids, rows = np.unique(images["image_id"].to_numpy(dtype=str), return_index=True)
        write_embeddings(Results(folder).embeddings(model, "holdout-0"), list(ids), embeddings[rows], {})
        if "seed" in model:
            course = pd.DataFrame(
                {"epoch": [1, 1, 2], "loss": [9.0, 8.0, 4.0 + width], "target_cosine": [0.1, 0.2, 0.5]}
            )
            write_text(folder / "holdout-0" / "checkpoints" / model / "training.csv", course.to_csv(index=False))
        place = folder / "holdout-0" / "evaluation" / model
        for name, contract in EVALUATION.items():
            write_table(place / f"{name}.parquet", contract, getattr(found, name), {})
    write_table(folder / "comparison.parquet", COMPARISON, comparison_table(Results(folder), models), {})
    trained = [("holdout-0", model) for model in spread if "seed" in model]
    write_table(folder / "changes.parquet", CHANGES, changes_by_training(Results(folder), trained), {})
    inertia = {"handmade-image-k9": 50.0, "handmade-image-k18": 20.0, "handmade-image-k27": 15.0}
    fitted = split.loc[split["part"] == "fit", "image_id"].sort_values()
    place = np.arange(len(fitted))
    for labels in (*inertia, "random-k9"):
        quality = label_quality(np.arange(len(images)) % 9, images)
        if labels in inertia:
            quality |= {"inertia": inertia[labels], "silhouette": 0.123, "stability": None}
        distance = (place * 7 % 11 / 11).astype(np.float32)
        table = pd.DataFrame({"image_id": fitted, "label": place % 9, "distance": distance})
        write_table(folder / "holdout-0" / "clusters" / f"{labels}.parquet", CLUSTERS, table, {})
        write_json(folder / "holdout-0" / "clusters" / f"{labels}.quality.json", quality)
    return models


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    hostile = images.assign(
        scientific_name=images["scientific_name"].replace({"Piscator rubra": HOSTILE}),
        category=images["category"].replace({"Fish": "<b>Fish"}),
    )
    return folder, results_of(folder, hostile, SPREAD)


def test_the_csv_has_the_seeds_columns_in_percent(finished):
    folder, models = finished
    comparison = comparison_table(Results(folder), models)
    text = comparison_csv(comparison)
    assert text.splitlines()[0] == ",".join(CSV_COLUMNS)
    assert ",".join(CSV_COLUMNS).startswith(
        "model,taxa,column,accuracy_individual,accuracy_avg,distance_individual,distance_avg,split,n_query,n_gallery"
    )
    row = comparison.iloc[0]
    assert f"{row['model']},{row['taxa']},{row['column']},{100 * row['accuracy_individual']:.2f}," in text
    assert len(text.splitlines()) == 1 + 5 * 9


def test_the_summary_says_who_won_and_against_whom(finished):
    folder, _ = finished
    summary = summarise(Results(folder), CONFIG)
    best, verdict, against = summary["sentences"]
    assert best.startswith(
        "Best of 2 students trained on clusters (holdout-0, species, All): "
        "vit-b-32.handmade-image-k9.seed5, right for 100.0% of 18"
    )
    assert "untrained: handmade 100.0%, vit-b-32 " in best
    assert summary["primary_model"] == "vit-b-32.handmade-image-k9.seed5"
    assert set(summary["tests"]) == {"vit-b-32", "vit-b-32.random-k9.seed5"}
    assert all(test["p_value"] < 0.05 for test in summary["tests"].values())
    assert "beats the untrained student vit-b-32" in verdict
    assert "beats vit-b-32 trained on labels without meaning" in verdict
    assert "95 % interval over queries 100.0% to 100.0%" in best
    assert against.startswith("As the best of several, vit-b-32.handmade-image-k9.seed5 cannot be told apart from ")
    assert "Holm-corrected for 4 comparisons" in against
    tested = {row["model"]: row for row in summary["best_against"]}
    assert set(tested) == {"vit-b-32.handmade-image-k18.seed5", "vit-b-32", "vit-b-32.random-k9.seed5", "handmade"}
    p_values = [row["p_value"] for row in tested.values()]
    assert [row["p_holm"] for row in tested.values()] == holm(p_values)
    accuracy = {row["model"]: row["accuracy"] for row in summary["ranking"]}
    for model, row in tested.items():
        assert row["difference"] == pytest.approx(accuracy[summary["best"]] - accuracy[model])
        assert row["low"] <= row["difference"] <= row["high"]


def test_equal_models_cannot_be_told_apart(images, tmp_path):
    results_of(tmp_path, images, dict.fromkeys(SPREAD, 0.3))
    best, verdict, against = summarise(Results(tmp_path), CONFIG)["sentences"]
    assert "beats" not in against
    assert "seed5 (and 1 other with the same score), right for" in best
    assert verdict.count("cannot be told apart from") == 2


def test_a_worse_model_is_called_worse(images, tmp_path):
    spread = {**SPREAD, "vit-b-32.handmade-image-k9.seed5": 4.0, "vit-b-32": 0.1}
    results_of(tmp_path, images, spread)
    assert "is worse than the untrained student" in summarise(Results(tmp_path), CONFIG)["sentences"][1]


def test_the_headline_does_not_hide_an_untrained_encoder_that_is_better(images, tmp_path):
    clusters = ("vit-b-32.handmade-image-k9.seed5", "vit-b-32.handmade-image-k18.seed5")
    results_of(tmp_path, images, SPREAD | dict.fromkeys(clusters, 4.0))
    summary = summarise(Results(tmp_path), CONFIG)
    teacher = next(row for row in summary["best_against"] if row["model"] == "handmade")
    assert teacher["difference"] < 0
    behind = f"{-100 * teacher['difference']:.1f} points behind the best encoder that was not trained here"
    assert f", and {behind}, {teacher['words']} (" in summary["headline"][1]
    assert len(summary["headline"]) == 2


def test_an_unknown_primary_taxon_is_said(finished):
    folder, _ = finished
    config = copy.deepcopy(CONFIG)
    config["report"]["primary"]["taxa"] = "Beetle"
    with pytest.raises(ConfigError, match=r"report.primary.taxa is 'Beetle'; the data has .*Bird"):
        summarise(Results(folder), config)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_is_self_contained_and_shows_everything_as_text(finished):
    folder, _ = finished
    text = render_report(Results(folder), CONFIG, summarise(Results(folder), CONFIG)).page
    page = Page(text)
    assert page.tags.count("script") == 2  # what all pages share, and its own
    assert "svg" in page.tags
    assert "img" not in page.tags
    assert not [link for link in page.links if not link.startswith(("#", "data:"))]
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?https?:""", text)
    assert "url(http" not in text
    assert "Content-Security-Policy" in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "&lt;b&gt;Fish" in text
    assert "<b>Fish" not in text
    for model in SPREAD:
        assert f"<code>{model}</code>" in text


def test_the_page_has_every_number_of_the_comparison(finished):
    folder, models = finished
    text = render_report(Results(folder), CONFIG, summarise(Results(folder), CONFIG)).page
    comparison = comparison_table(Results(folder), models)
    assert text.count("<tr") - text.count("<thead><tr") >= len(comparison)
    for value in comparison["accuracy_avg"]:
        assert f'<td class="n">{100 * value:.2f}<br><small>' in text
    for low, high in zip(comparison["accuracy_avg_low"], comparison["accuracy_avg_high"], strict=True):
        assert f"<small>{100 * low:.1f}–{100 * high:.1f}</small>" in text


def test_the_page_is_the_same_bytes_again(finished):
    folder, _ = finished
    summary = summarise(Results(folder), CONFIG)
    assert render_report(Results(folder), CONFIG, summary).page == render_report(Results(folder), CONFIG, summary).page


def test_the_page_shows_what_is_known_of_each_k_and_where_the_inertia_bends(finished):
    folder, _ = finished
    config = CONFIG | {"labels": {**CONFIG["labels"], "k": [9, 18, 27]}}
    text = render_report(Results(folder), config, summarise(Results(folder), CONFIG)).page
    assert "The inertia of the clusters of handmade image (holdout-0) bends most at k = 18." in text
    assert text.count("0.123") == 3
    assert text.count("<svg") == 6


def test_what_training_fixed_and_broke_adds_up_to_the_difference(finished):
    folder, models = finished
    model = "vit-b-32.handmade-image-k18.seed5"
    changes = changes_by_training(Results(folder), [("holdout-0", model)])
    accuracy = comparison_table(Results(folder), models).set_index(["model", "taxa", "column"])["accuracy_individual"]
    for column, counted in changes.groupby("column"):
        gained = (counted["fixed"].sum() - counted["broken"].sum()) / counted["n_query"].sum()
        assert gained == pytest.approx(accuracy[model, "All", column] - accuracy["vit-b-32", "All", column])
    assert set(changes["column"]) == {"species", "genus"}
    assert changes["fixed"].sum() > 0
    assert len(changes_by_training(Results(folder), [])) == 0


def test_the_page_shows_other_measures_and_what_the_best_mistakes(images, tmp_path):
    results_of(tmp_path, images, dict.fromkeys(SPREAD, 1.5))
    summary = summarise(Results(tmp_path), CONFIG)
    text = render_report(Results(tmp_path), CONFIG, summary).page
    place = tmp_path / "holdout-0" / "evaluation" / summary["best"]
    confused = pd.read_parquet(place / "confusions.parquet")
    first = confused[confused["column"] == "species"].sort_values("n", ascending=False).iloc[0]
    assert f"<td>{first['label']}</td><td>{first['predicted']}</td>" in text
    retrieval = pd.read_parquet(place / "retrieval.parquet").set_index(["taxa", "column"])
    assert f'<td class="n">{100 * retrieval.loc[("All", "species"), "map_at_r"]:.1f}</td>' in text
    assert "No answer changed." in text


def test_the_page_has_every_species_and_genus_before_and_after_training(images, tmp_path):
    results_of(tmp_path, images, dict.fromkeys(SPREAD, 1.5))
    summary = summarise(Results(tmp_path), CONFIG)
    text = render_report(Results(tmp_path), CONFIG, summary).page
    section = text[text.index('id="classes"') :].partition("</table>")[0]
    after, before = (
        pd.read_parquet(tmp_path / "holdout-0" / "evaluation" / model / "classes.parquet").set_index(
            ["column", "label"]
        )
        for model in (summary["best"], "vit-b-32")
    )
    assert section.count("<tr><td>") == len(after) > 2
    for (column, label), row in after.iterrows():
        numbers = (row["accuracy_individual"], before["accuracy_individual"][column, label])
        cells = "".join(f'<td class="n">{100 * value:.1f}</td>' for value in numbers)
        assert (
            f'<td>{column}</td><td>{html.escape(label)}</td><td class="n">{row["n_query"]:.0f}</td>{cells}' in section
        )


def test_the_page_shows_the_course_of_the_trainings_where_there_are_any(finished):
    folder, _ = finished
    text = render_report(Results(folder), CONFIG, summarise(Results(folder), CONFIG)).page
    chart = text.split("The course of the trainings")[1].split("</figure>")[0]
    assert "svg" in chart
    trained = [model for model in SPREAD if "seed" in model]
    assert all(model in chart for model in trained)
    assert "handmade<" not in chart
    assert "Normalised mutual information" in text
    history = pd.DataFrame(
        {"model": "m", "epoch": [1, 1, 2], "loss": [9.0, 7.0, 4.0], "target_cosine": [0.1, 0.2, 0.5]}
    )
    assert course_of_training(history).svg() == course_of_training(history.iloc[[1, 0, 2]]).svg()  # means of epochs
    assert course_of_training(history).svg() != course_of_training(history.assign(loss=[9.0, 8.0, 4.0])).svg()


def test_the_chart_against_k_has_the_interval_of_every_training_and_the_others_as_lines(finished):
    folder, models = finished
    (chart,) = (
        chart
        for chart in render_report(Results(folder), CONFIG, summarise(Results(folder), CONFIG)).charts
        if chart.name == "accuracy-against-k"
    )
    comparison = comparison_table(Results(folder), models)
    rows = comparison[(comparison["taxa"] == "All") & (comparison["column"] == "species")].set_index("model")
    trained = chart.data[chart.data["k"].notna()].set_index("k")
    assert set(trained.index) == {9, 18}
    for k, row in trained.iterrows():
        expected = rows.loc[f"vit-b-32.handmade-image-k{k:.0f}.seed5"]
        for column, of in (("accuracy", ""), ("low", "_low"), ("high", "_high")):
            assert row[column] == expected[f"accuracy_individual{of}"]
    assert chart.svg().count('aria-roledescription="rule mark container"') == 2  # intervals, and models without k
    assert len(chart.data) - len(trained) == 3


def test_captions_are_compared_with_the_same_training_without_them(images, tmp_path):
    config = copy.deepcopy(CONFIG)
    config["encoders"]["clip"] = {"family": "open_clip", "architecture": "ViT-B-32", "seed": 1}
    config["labels"] |= {"teachers": ["clip"], "features": ["fused-template"], "k": [9], "also": ["clip-image-k9"]}
    image, fused, text = (f"vit-b-32.clip-{name}-k9.seed5" for name in ("image", "fused-template", "text-template"))
    others = [
        fused.replace("k9", "k18"),
        fused.replace("seed5", "seed6"),
        "vit-b-32.random-k9.seed5",
        "clip",
        "vit-b-32",
    ]
    # Another k, another seed, or no twin: nothing is compared with them.
    assert text_beside_image(config, [image, fused, text, *others]) == {fused: image, text: image}
    results_of(tmp_path, images, {fused: 0.2, image: 3.0, "vit-b-32.random-k9.seed5": 3.0, "vit-b-32": 3.0})
    summary = summarise(Results(tmp_path), config)
    (row,) = summary["text"]
    accuracy = {entry["model"]: entry["accuracy"] for entry in summary["ranking"]}
    assert (row["model"], row["without"]) == (fused, image)
    assert row["difference"] == pytest.approx(accuracy[fused] - accuracy[image])
    assert row["low"] <= row["difference"] <= row["high"]
    assert summary["sentences"][-1].startswith(
        "The captions help: vit-b-32 on 9 clusters of clip's fused-template features"
    )
