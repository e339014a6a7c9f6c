import pytest
import yaml
from conftest import REPOSITORY

from cladeclip import plan, tables

DEFAULT = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


def config(**labels):
    return DEFAULT | {
        "labels": DEFAULT["labels"] | labels,
        "splits": ["holdout-0", "open-0"],
        "seeds": {"training": [5, 6]},
    }


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


def test_the_tables_of_a_model_are_those_of_the_contracts():
    assert set(plan.EVALUATION_TABLES) == set(tables.EVALUATION)
    of_hierarchy = (tables.HIERARCHY, tables.COVERAGE, tables.NOVELTY, tables.TAXONOMIC_ANSWERS)
    assert tuple(contract.name for contract in of_hierarchy) == plan.HIERARCHY_TABLES


def test_open_splits_alone_have_names_at_several_ranks():
    files = plan.Files(config(k=[9]))
    assert len(files.hierarchies()) == len(plan.HIERARCHY_TABLES) * len(plan.all_models(files.config, "open-0"))
    assert all("/open-0/" in path for path in files.hierarchies())
    assert plan.Files(files.config | {"splits": ["all", "holdout-1"]}).hierarchies() == []


def test_only_what_reads_names_is_asked_by_names():
    files = plan.Files(config(k=[9]))
    readers = {path.split("/")[-2] for path in files.zero_shot()}
    assert {files.family(model).name for model in readers} == {"open_clip"}
    others = {model for _, model in files.models()} - readers
    assert others
    assert "open_clip" not in {files.family(model).name for model in others}
    assert plan.Files(files.config | {"eval": {**DEFAULT["eval"], "zero_shot": False}}).zero_shot() == []


def test_a_trained_model_has_its_own_weights_and_another_those_that_were_brought():
    files = plan.Files(config(k=[9]))
    (split, trained), *_ = plan.trainings(files.config)
    assert files.weights_of(trained, split) in files.checkpoints("encoder.json")
    assert files.family(trained) == files.family("vit-b-32")
    assert files.weights_of("vit-b-32", split) in files.encoder_records()


def test_the_manifest_lists_what_a_run_makes_once_each():
    files = plan.Files(config(k=[9, 27]))
    listed = files.listed()
    assert listed == sorted(set(listed))
    made = {*files.all(), *files.teachers_features(), *files.labels(), files.store()}
    made -= {files.results.file("report.html"), files.results.file("manifest.json"), *files.unnamed()}
    assert made <= set(listed)
    assert all(path.startswith(f"{files.results}/") for path in listed)
