import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import normalized_mutual_info_score

from cladeclip.clustering.controls import control_labels
from cladeclip.clustering.quality import elbow, fit_images, label_quality, labels_table, purity, silhouette, stability
from cladeclip.errors import DataError
from cladeclip.names import ControlLabels


@pytest.fixture
def fit():
    names = [f"G{i % 3} s{i % 7}" for i in range(70)]
    return pd.DataFrame(
        {
            "image_id": [f"{i:02d}" for i in range(70)],
            "scientific_name": names,
            "genus": [n.split()[0] for n in names],
            "category": ["Fish" if n.endswith(("s0", "s1", "s2")) else "Bird" for n in names],
        }
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


def test_split_species_and_mixed_categories_are_counted(fit):
    names, categories = fit["scientific_name"].to_numpy(dtype=str), fit["category"].to_numpy(dtype=str)
    labels = np.arange(len(fit)) % 7
    quality = label_quality(labels, fit)
    assert quality["species"]["split"] == sum(len(set(labels[names == name])) > 1 for name in set(names))
    assert quality["mixed_categories"] == sum(len(set(categories[labels == label])) > 1 for label in set(labels))
    assert "family" not in quality
    assert label_quality(labels, fit.assign(family="A"))["family"]["purity"] == 1
    assert "family" not in label_quality(labels, fit.assign(family=[None, *["A"] * 69]))
    truth = label_quality(np.unique(names, return_inverse=True)[1], fit)
    assert (truth["species"]["split"], truth["mixed_categories"]) == (0, 0)
    assert truth["genus"]["homogeneity"] == pytest.approx(1)


def test_stability_is_the_mean_ari_of_all_pairs():
    runs = [np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), np.array([0, 1, 0, 1])]
    assert stability(runs[:1]) is None
    assert stability(runs[:2]) == pytest.approx(1)
    assert stability(runs) == pytest.approx((1 - 0.5 - 0.5) / 3)


def test_silhouette_by_definition_and_where_there_is_none():
    points = np.random.default_rng(0).normal(size=(30, 3))
    labels = np.arange(30) % 4
    scores = []
    for i in range(30):
        distances = np.linalg.norm(points - points[i], axis=1)
        own = distances[labels == labels[i]].sum() / ((labels == labels[i]).sum() - 1)
        other = min(distances[labels == label].mean() for label in range(4) if label != labels[i])
        scores.append((other - own) / max(own, other))
    assert silhouette(points, labels) == pytest.approx(np.mean(scores))
    assert silhouette(points, np.zeros(30, dtype=int)) is None
    assert silhouette(points, np.arange(30)) is None


def test_the_elbow_is_where_the_curve_bends():
    assert elbow([10, 20, 30, 40, 50], [100, 40, 35, 32, 30]) == 20
    assert elbow([50, 10, 40, 20, 30], [30, 100, 32, 40, 35]) == 20
    assert elbow([10, 20, 30], [30, 20, 10]) is None
    assert elbow([10, 20], [30, 20]) is None
