"""A whole run on pictures and names as people have them: vernacular names, or none, no metadata, and near-duplicates."""

import shutil

import pandas as pd
import pytest
import yaml
from checkout import MODEL, Checkout
from dwca.read import DwCAReader
from PIL import Image

from cladeclip.datasets.decisions import read_decisions
from cladeclip.io.embeddings import read_embeddings
from cladeclip.io.parquet import read_table
from cladeclip.tables import (
    CANDIDATES,
    COMPARISON,
    DUPLICATES,
    EMBEDDINGS_MAP,
    IDENTIFIED,
    IMAGES,
    NAMES,
    NEAR_DUPLICATES,
    QUARANTINE,
    SPLIT,
)


@pytest.fixture(scope="module")
def done(specimens, images, tmp_path_factory):
    """Folders of species, two of them called by vernacular names; eight pictures of nobody knows what; retouched copies."""
    folder = tmp_path_factory.mktemp("people")
    checkout, root = Checkout(folder / "clone"), folder / "my pictures"
    names = sorted(set(images["scientific_name"]))
    called = {names[0]: "Red_Fox", names[1]: "Red_Deer"} | {name: name.replace(" ", "_") for name in names[2:]}
    for row in images.itertuples():
        target = root / called[row.scientific_name] / row.image_id.rsplit("/")[-1]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(specimens / row.image_id, target)
    for of_species in sorted(root.iterdir()):
        first = sorted(of_species.iterdir())[0]
        retouched = Image.open(first).convert("RGB")
        retouched.putpixel((0, 0), (255, 0, 0))
        retouched.save(of_species / f"{first.stem} retouched.png")
    (root / "unknown").mkdir()
    for row in images.head(8).itertuples():
        Image.open(specimens / row.image_id).rotate(90).save(root / "unknown" / row.image_id.rsplit("/")[-1])
    dataset = {
        "name": "tiny",
        "root": str(root),
        "layout": "folders",
        "source": "folder",
        "folders": {"ranks": []},
        "unnamed": "keep",
    }
    config = checkout.with_config(
        dataset=dataset,
        folds={"near_duplicates": {"encoder": "handmade", "cosine": 0.997}},
        splits=["holdout-0", "open-0"],
        students=["tiny-clip"],
    )
    checkout.run(config=config)
    assert checkout.plan(config=config) == {}
    return checkout


def test_vernacular_names_stay_apart_and_have_no_genus(done):
    images = read_table(done.results / "images.parquet", IMAGES)
    assert {"Red_Fox", "Red_Deer"} <= set(images["scientific_name"])
    assert set(images.loc[images["scientific_name"].str.startswith("Red"), "genus"]) == {""}
    names = read_table(done.results / "names.parquet", NAMES).set_index("name_as_written")
    assert names.loc[["Red_Fox", "Red_Deer", "unknown"], "kind"].tolist() == ["words", "words", "placeholder"]
    comparison = read_table(done.results / "comparison.parquet", COMPARISON)
    assert set(comparison["column"]) == {"species", "genus", "taxa"}


def test_pictures_without_a_species_are_embedded_mapped_and_named_and_nothing_else(done):
    folder = done.folder.parent / "my pictures" / "unknown"
    nameless = {f"unknown/{path.name}" for path in folder.iterdir()}
    assert nameless <= set(read_embeddings(done.results / "embeddings" / "handmade" / "image.parquet")[0])
    assert nameless <= set(read_table(done.results / "embeddings_map.parquet", EMBEDDINGS_MAP)["image_id"])
    for split in ("holdout-0", "open-0"):
        part = read_table(done.results / split / "split.parquet", SPLIT).set_index("image_id")["part"]
        assert set(part[list(nameless)]) == {"unnamed"}
        for name in ("predictions", "neighbours", "taxonomic_answers"):
            path = done.results / split / "evaluation" / "handmade" / f"{name}.parquet"
            if path.exists():
                table = pd.read_parquet(path)
                assert not nameless & set(table["image_id"])
                assert not nameless & set(table.get("nearest_image_id", table.get("neighbour_image_id")))
    named = read_table(done.results / "holdout-0" / "unnamed" / f"{MODEL}.parquet", IDENTIFIED)
    assert set(named["image_id"]) == nameless
    assert (done.results / "holdout-0" / "unnamed" / f"{MODEL}.csv").read_text().count("\n") == 9


def test_near_duplicates_are_listed_and_stay_together(done):
    pairs = read_table(done.results / "near_duplicates.parquet", NEAR_DUPLICATES)
    retouched = {path for path in [*pairs["image_id"], *pairs["other_image_id"]] if "retouched" in path}
    assert len(retouched) == 9
    part = read_table(done.results / "holdout-0" / "split.parquet", SPLIT).set_index("image_id")
    named = pairs[~pairs["image_id"].str.startswith("unknown") & ~pairs["other_image_id"].str.startswith("unknown")]
    assert (
        part.loc[named["image_id"], "part"].to_numpy() == part.loc[named["other_image_id"], "part"].to_numpy()
    ).all()


def test_the_report_says_so(done):
    page = (done.results / "report.html").read_text()
    for words in (
        "not a scientific name, kept as it is, without a genus",
        "8 picture(s) have no species",
        "pair(s) have a cosine of at least 0.997",
        "What keeping pictures together changes",
    ):
        assert words in page


def test_what_a_curator_decides_on_the_page_the_next_run_does(done, browser):
    """The last test of this run: it changes the names."""
    folder, config = "results/tiny/holdout-0/curate/handmade", done.folder / "changed.yaml"
    done.run(f"{folder}/curate.html", f"{folder}/candidates.dwca.zip", config=config)
    candidates = read_table(done.folder / folder / "candidates.parquet", CANDIDATES)
    assert candidates["image_id"].str.startswith("unknown/").all()
    assert len(candidates) == 8
    with DwCAReader(str(done.folder / folder / "candidates.dwca.zip")) as archive:
        assert {row.id for row in archive} == set(candidates["image_id"])
    duplicates = read_table(done.folder / folder / "duplicates.parquet", DUPLICATES)
    assert duplicates["image_id"].str.contains("retouched").sum() == 9
    page = browser.new_page()
    page.goto((done.folder / folder / "curate.html").as_uri())
    # The first candidate gets the name that it is shown with, then one of each pair is left out.
    for key in ("a", "3", *"a" * duplicates["group"].nunique()):
        page.keyboard.press(key)
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(done.folder / "decisions.csv")
    decided = read_decisions(done.folder / "decisions.csv")
    first = candidates[candidates["candidate"] == 1]
    assert decided.names == dict.fromkeys(first["image_id"], first["name"].iloc[0])
    assert len(decided.excluded) == len(duplicates) - duplicates["group"].nunique()
    with_decisions = yaml.safe_load(config.read_text())
    with_decisions["dataset"]["decisions"] = "decisions.csv"
    config.write_text(yaml.safe_dump(with_decisions))
    planned = done.plan(config=config)
    assert {"prepare", "split", "train", "evaluate", "report"} <= set(planned)
    assert not {"listing", "fetch_weights"} & set(planned)
    done.run(f"{folder}/curate.html", "results/tiny/images.parquet", config=config)
    images = read_table(done.results / "images.parquet", IMAGES).set_index("image_id")
    assert set(images.loc[first["image_id"], "scientific_name"]) == {first["name"].iloc[0]}
    quarantine = read_table(done.results / "quarantine.parquet", QUARANTINE).set_index("image_id")
    assert set(quarantine.loc[list(decided.excluded), "reason"]) == {"excluded"}
    # What was decided is not shown again.
    page = (done.folder / folder / "curate.html").read_text()
    assert f"On {len(decided.names) + len(decided.excluded) + len(decided.kept)} pictures decisions were read" in page
