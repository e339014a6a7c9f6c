import pytest
import yaml
from conftest import REPOSITORY

from cladeclip import plan

DEFAULT = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


def config(**labels):
    return DEFAULT | {"labels": DEFAULT["labels"] | labels, "splits": ["holdout-0", "open-0"], "seeds": [5, 6]}


def test_single_labels_stand_beside_the_cross_product_once():
    asked = config(k=[9, 27], also=["bioclip-image-k9", "vit-h-fused-internvl-k9"], controls=["species"])
    crossed = ["vit-h-fused-internvl-k9", "vit-h-fused-internvl-k27"]
    assert plan.cluster_labels(asked) == [*crossed, "bioclip-image-k9"]
    assert plan.all_labels(asked) == [*crossed, "bioclip-image-k9", "species"]
    assert plan.clustered_features(asked) == [("vit-h", "fused-internvl"), ("bioclip", "image")]
    assert plan.teachers(asked) == ["vit-h", "bioclip"]


def test_a_split_trains_on_what_is_named_for_it_and_the_others_on_all():
    asked = config(k=[9, 27], only={"open-0": ["vit-h-fused-internvl-k27"]})
    assert len(plan.trained_models(asked, "holdout-0")) == 2 * 2
    assert plan.trained_models(asked, "open-0") == [f"vit-b-32.vit-h-fused-internvl-k27.seed{seed}" for seed in (5, 6)]
    for split in asked["splits"]:
        assert plan.all_models(asked, split)[-len(asked["baselines"]) :] == asked["baselines"]


@pytest.mark.parametrize(
    ("labels", "primary"),
    [({"features": ["image", "fused-internvl"]}, "vit-h-image-k500"), ({"teachers": []}, None), ({"k": []}, None)],
)
def test_the_planned_comparison_is_about_the_first_teachers_first_features(labels, primary):
    assert plan.primary_labels(config(**labels)) == primary


def test_a_captioner_of_a_single_label_has_its_model_fetched():
    assert plan.models_that_caption(config(features=["image"])) == []
    assert plan.models_that_caption(config(features=["image"], also=["vit-h-text-internvl-k9"])) == ["internvl"]
