import numpy as np
import pandas as pd
import pytest
from test_gallery_section import BEST
from test_hierarchy_section import OPEN, opened, pictures_of  # noqa: F401 (a fixture)

from cladeclip.io.parquet import read_table, write_table
from cladeclip.paths import Results
from cladeclip.reporting.sections.map import EXTENT, METHODS, map_section
from cladeclip.reporting.shown import best_student, models_mapped
from cladeclip.tables import COMPARISON, EMBEDDINGS_MAP


@pytest.fixture(scope="module")
def section(opened):  # noqa: F811
    return map_section(Results(opened), OPEN, {BEST: "the best"}, pictures_of(opened))


def test_the_map_is_of_the_best_student_itself_untrained_and_its_teacher(opened, section):  # noqa: F811
    comparison = read_table(opened / "comparison.parquet", COMPARISON)
    assert str(best_student(comparison, OPEN)) == BEST
    assert [model["name"] for model in section["models"]] == models_mapped(comparison, OPEN)
    assert [model["name"] for model in section["models"]] == [BEST, "vit-b-32", "handmade"]
    assert section["models"][0]["words"] == "the best"


def test_without_a_student_on_clusters_the_best_models_are_mapped(opened):  # noqa: F811
    comparison = read_table(opened / "comparison.parquet", COMPARISON)
    untrained = comparison[~comparison["model"].str.contains("seed")]
    assert models_mapped(untrained, OPEN) == ["handmade", "vit-b-32"]


def test_places_are_scaled_alike_on_both_axes(opened, section):  # noqa: F811
    table = pd.read_parquet(opened / "embeddings_map.parquet")
    for model in section["models"]:
        of_model = table[table["model"] == model["name"]].sort_values("image_id")
        for method in METHODS:
            drawn = np.array(model[method]).T.astype(float)
            true = of_model[[f"{method}_1", f"{method}_2"]].to_numpy(dtype=float)
            assert drawn.min() == 0
            assert drawn.max() == EXTENT
            scale = EXTENT / np.ptp(true, axis=0).max()
            np.testing.assert_allclose(np.diff(drawn, axis=0), scale * np.diff(true, axis=0), atol=1.01)


def test_every_point_has_its_picture_name_and_colours(opened, section):  # noqa: F811
    images = pd.read_parquet(opened / "images.parquet").sort_values("image_id")
    assert [row[:2] for row in section["images"]] == images[["image_id", "scientific_name"]].to_numpy().tolist()
    assert all(row[2].startswith("data:image/webp;base64,") for row in section["images"])
    assert section["colours"]["genus"] == list(images["genus"])
    clusters = pd.read_parquet(opened / "holdout-0" / "clusters" / "handmade-image-k9.parquet").set_index("image_id")
    coloured = section["colours"]["cluster (handmade-image-k9)"]
    for image_id, colour in zip(images["image_id"], coloured, strict=True):
        known = image_id in clusters.index
        assert colour == (f"cluster {clusters.loc[image_id, 'label']}" if known else "held out")
    assert "held out" in coloured


def test_there_is_no_map_without_its_table_or_its_rows(opened, tmp_path):  # noqa: F811
    assert map_section(Results(tmp_path), OPEN, {}, pictures_of(opened)) is None
    empty = pd.DataFrame(columns=list(EMBEDDINGS_MAP.columns))
    write_table(tmp_path / "embeddings_map.parquet", EMBEDDINGS_MAP, empty, {})
    assert map_section(Results(tmp_path), OPEN, {}, pictures_of(opened)) is None
