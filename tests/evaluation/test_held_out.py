"""What is held out, named by the nearest image: by loops over all pairs."""

import numpy as np
import pandas as pd
import pytest

from cladeclip.datasets.splits import make_split, scored_images
from cladeclip.evaluation.evaluate import evaluate
from cladeclip.evaluation.held_out import held_out


@pytest.fixture
def data():
    """Species of 1 to 12 pictures in genera of three, some of them of one specimen, with noisy embeddings."""
    rng = np.random.default_rng(1)
    rows = [
        (f"G{n // 3} s{n:02d}", f"G{n // 3}", f"c{n % 2}", f"s{n:02d}-{i}")
        for n in range(1, 25)
        for i in range(n % 12 + 1)
    ]
    images = pd.DataFrame(rows, columns=["scientific_name", "genus", "category", "image_id"])
    # Two or three pictures of one specimen, some of another species than the first.
    images["content_group"] = [images["image_id"][i - i % 3 if i % 4 else i] for i in range(len(images))]
    images["content_group"] = images.groupby("content_group")["image_id"].transform("min")
    images.loc[images["scientific_name"] == "G3 s10", "genus"] = ""
    centres = {name: rng.normal(size=6) for name in sorted(set(images["scientific_name"]))}
    embeddings = np.stack([centres[name] + rng.normal(size=6) for name in images["scientific_name"]])
    return images, embeddings.astype(np.float32)


def by_loops(images, embeddings, split):
    part = split.set_index("image_id")["part"][images["image_id"]].to_numpy()
    units = embeddings.astype(float) / np.linalg.norm(embeddings.astype(float), axis=1, keepdims=True)
    rows = {}
    for column, source in (("species", "scientific_name"), ("genus", "genus")):
        names, groups = images[source].to_numpy(), images["content_group"].to_numpy()
        for i in range(len(images)):
            if part[i] == "fit" or not names[i]:
                continue
            found = "unseen" if part[i] == "unseen" else "fit"
            others = [
                j for j in range(len(images)) if part[j] == found and names[j] and groups[j] != groups[i] and j != i
            ]
            if not any(names[j] == names[i] for j in others):
                continue
            best = max(others, key=lambda j: units[i] @ units[j])
            rows[part[i], column, images["image_id"][i]] = (names[i], names[best])
    return rows


@pytest.mark.parametrize("name", ["holdout-0", "open-0", "open-1"])
def test_every_image_that_was_not_fitted_is_named_by_the_nearest_of_another_group(data, name):
    images, embeddings = data
    split = make_split(images, name, test_share=0.3, seed=5, validate_share=0.3)
    images = scored_images(images, split)
    table = held_out(images, embeddings, split)
    found = {(row.part, row.column, row.image_id): (row.label, row.answer) for row in table.itertuples()}
    expected = by_loops(images, embeddings, split)
    assert found == expected
    assert {part for part, *_ in found} == {"query", "validate"} | ({"unseen"} if name.startswith("open") else set())


def test_what_is_kept_to_choose_by_is_in_no_other_measure(data):
    """Without these pictures every other table is the same."""
    images, embeddings = data
    split = make_split(images, "holdout-0", test_share=0.3, seed=5, validate_share=0.3)
    kept = (split["part"] == "validate").to_numpy()
    assert kept.any()
    settings = {"protocol": "holdout-0", "query_share": 0.2, "seed": 5}
    whole = evaluate(images, embeddings, split, **settings)
    images, split = (table[~kept].reset_index(drop=True) for table in (images, split))
    without = evaluate(images, embeddings[~kept], split, **settings)
    for name in ("accuracy", "predictions", "neighbours", "knn", "retrieval", "classes", "confusions"):
        pd.testing.assert_frame_equal(getattr(whole, name), getattr(without, name))
    assert set(whole.held_out["part"]) == {"query", "validate"}


def test_where_everything_is_fitted_nothing_is_held_out(data):
    images, embeddings = data
    assert held_out(images, embeddings, make_split(images, "all", test_share=0.3, seed=5)).empty
