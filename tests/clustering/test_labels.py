import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import normalized_mutual_info_score

from cladeclip.clustering.controls import control_labels
from cladeclip.clustering.quality import fit_images, label_quality, labels_table, purity
from cladeclip.errors import DataError
from cladeclip.names import ControlLabels


@pytest.fixture
def fit():
    names = [f"G{i % 3} s{i % 7}" for i in range(70)]
    return pd.DataFrame(
        {"image_id": [f"{i:02d}" for i in range(70)], "scientific_name": names, "genus": [n.split()[0] for n in names]}
    )


def test_species_and_genus_labels_are_the_truth(fit):
    for kind, column in (("species", "scientific_name"), ("genus", "genus")):
        labels = control_labels(fit, ControlLabels(kind), seed=0)
        assert set(labels) == set(range(fit[column].nunique()))
        assert label_quality(labels, fit)[kind]["nmi"] == pytest.approx(1)


def test_random_labels_are_even_seeded_and_tell_nothing(fit):
    labels = control_labels(fit, ControlLabels("random", 9), seed=0)
    sizes = np.bincount(labels)
    assert len(sizes) == 9
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(labels, control_labels(fit, ControlLabels("random", 9), seed=0))
    assert (labels != control_labels(fit, ControlLabels("random", 9), seed=1)).any()
    assert abs(label_quality(labels, fit)["species"]["ami"]) < 0.1
    with pytest.raises(DataError, match="71 classes, but only 70 images"):
        control_labels(fit, ControlLabels("random", 71), seed=0)


def test_quality_by_definition(fit):
    labels = np.arange(70) % 5
    quality = label_quality(labels, fit)
    assert quality["n_labels"] == 5
    assert quality["size"]["median"] == 14
    assert quality["singletons"] == 0
    assert quality["genus"]["nmi"] == pytest.approx(normalized_mutual_info_score(fit["genus"], labels))
    most = sum(fit["genus"][labels == label].value_counts().max() for label in range(5))
    assert purity(labels, fit["genus"].to_numpy(str)) == pytest.approx(most / 70)
    assert quality["genus"]["purity"] == pytest.approx(most / 70)


def test_only_fit_images_are_labelled(fit):
    split = pd.DataFrame({"image_id": fit["image_id"], "part": ["fit", "query"] * 35})
    chosen = fit_images(fit, split)
    assert list(chosen["image_id"]) == list(fit["image_id"][::2])
    assert list(labels_table(chosen, np.zeros(35))["image_id"]) == list(chosen["image_id"])
