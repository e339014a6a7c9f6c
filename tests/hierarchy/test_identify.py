import io

import numpy as np
import pandas as pd
import pytest
from test_classifier import SETTINGS, collection  # noqa: F401 (a fixture)

from cladeclip.datasets.listing import pictures_below
from cladeclip.errors import DataError
from cladeclip.hierarchy.classifier import fit_classifier
from cladeclip.hierarchy.identify import for_a_spreadsheet, identify
from cladeclip.hierarchy.taxonomy import Taxonomy


@pytest.fixture(scope="module")
def identified(collection):  # noqa: F811
    images, points = collection
    fit = images["scientific_name"].isin(["A a", "A b", "C a", "C b"]).to_numpy() & (np.arange(len(images)) % 4 > 0)
    asked = np.arange(len(images)) % 4 == 0
    known = images[fit].reset_index(drop=True)
    taxonomy = Taxonomy.of_images(known)
    classifier = fit_classifier(known, points[fit], taxonomy, SETTINGS, seed=5)
    new = [f"new/{i}.jpg" for i in range(asked.sum())]
    unusable = {"broken.png": "truncated: image file is truncated"}
    found = identify(classifier, known, points[fit], new, points[asked], unusable, score="mahalanobis")
    return found, images[asked].reset_index(drop=True), known, points[fit], points[asked], taxonomy, classifier


def test_every_new_picture_has_its_answer_and_the_known_ones_that_it_resembles(identified):
    found, truth, known, gallery, asked, *_ = identified
    assert len(found) == len(truth) + 1
    answered = found.iloc[:-1]
    is_known = truth["scientific_name"].isin(known["scientific_name"]).to_numpy()
    assert (answered["species"][is_known] == truth["scientific_name"][is_known]).mean() > 0.8
    assert (answered["novel_at"][~is_known] != "").mean() > 0.9
    units = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (asked.astype(float), gallery.astype(float))
    ]
    nearest = np.argsort(-(units[0] @ units[1].T), axis=1)[:, :3]
    for place in range(3):
        assert answered[f"nearest_{place + 1}"].tolist() == known["image_id"][nearest[:, place]].tolist()
        assert answered[f"nearest_{place + 1}_species"].tolist() == known["scientific_name"][nearest[:, place]].tolist()
        cosines = (units[0] * units[1][nearest[:, place]]).sum(axis=1)
        np.testing.assert_allclose(answered[f"nearest_{place + 1}_cosine"].astype(float), cosines)


def test_a_picture_that_cannot_be_read_has_its_row_and_reason(identified):
    row = identified[0].iloc[-1]
    assert (row["image_id"], row["reason"]) == ("broken.png", "truncated: image file is truncated")
    assert row["answered"] == row["species"] == row["nearest_1"] == ""


def test_only_unreadable_pictures_are_a_table_too(identified):
    _, _, known, gallery, _, _, classifier = identified
    nothing = np.empty((0, gallery.shape[1]), np.float32)
    found = identify(
        classifier, known, gallery, [], nothing, {"a.jpg": "zero_bytes: the file is empty"}, score="energy"
    )
    assert found["reason"].tolist() == ["zero_bytes: the file is empty"]


def test_the_spreadsheet_says_one_answer_a_picture(identified):
    found, *_, taxonomy, _ = identified
    sheet = pd.read_csv(io.StringIO(for_a_spreadsheet(found, taxonomy.ranks)), keep_default_na=False)
    assert sheet["picture"].tolist() == found["image_id"].tolist()
    for said, row in zip(sheet.to_dict(orient="records"), found.to_dict(orient="records"), strict=True):
        assert said["rank"] == row["answered"]
        assert said["answer"] == (row[row["answered"]] if row["answered"] else "")
    assert sheet["not_read_because"].iloc[-1].startswith("truncated")


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx"])
def test_no_cell_of_the_spreadsheet_is_a_formula(identified, name):
    found, *_, taxonomy, _ = identified
    hostile = found.assign(image_id=name, nearest_1_species=name)
    sheet = pd.read_csv(io.StringIO(for_a_spreadsheet(hostile, taxonomy.ranks)), keep_default_na=False, dtype=str)
    for column in sheet:
        assert not sheet[column].str.startswith(("=", "+", "-", "@", "\t")).any(), column


def test_pictures_of_a_folder_are_found_in_order(tmp_path):
    for name in ("b/2.JPG", "a.png", "b/1.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert pictures_below(tmp_path)["path"].tolist() == ["a.png", "b/1.tif", "b/2.JPG"]
    with pytest.raises(DataError, match="no such folder"):
        pictures_below(tmp_path / "c")
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match="no picture in it"):
        pictures_below(tmp_path / "c")
