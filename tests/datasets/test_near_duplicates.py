"""Pairs of nearly equal pictures are those of a plain comparison, and splits keep them together."""

import numpy as np
import pandas as pd
import pytest

from cladeclip.datasets import near_duplicates as module
from cladeclip.datasets.near_duplicates import near_duplicates, with_near_duplicates
from cladeclip.datasets.splits import make_split
from cladeclip.io.parquet import read_table, write_table
from cladeclip.tables import NEAR_DUPLICATES


@pytest.fixture
def points():
    """Sixty points, of which every third is a slightly turned copy of the one before."""
    points = np.random.default_rng(5).normal(size=(60, 16)).astype(np.float32)
    points[2::3] = points[1::3] + 0.05 * points[::3]
    return points * np.linspace(0.1, 9, 60, dtype=np.float32)[:, None]


@pytest.mark.parametrize("block", [1, 100, 2**25])
def test_every_pair_above_the_limit_is_found_once(points, tmp_path, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    ids = [f"{59 - i:02d}.jpg" for i in range(60)]
    found = near_duplicates(ids, points, cosine=0.95)
    unit = points.astype(float) / np.linalg.norm(points.astype(float), axis=1)[:, None]
    cosines = unit @ unit.T
    expected = {tuple(sorted((ids[i], ids[j]))) for i in range(60) for j in range(i) if cosines[i, j] >= 0.95}
    assert len(expected) == 20
    assert set(zip(found["image_id"], found["other_image_id"], strict=True)) == expected
    place = {image_id: i for i, image_id in enumerate(ids)}
    exact = [cosines[place[a], place[b]] for a, b in zip(found["image_id"], found["other_image_id"], strict=True)]
    np.testing.assert_allclose(found["cosine"], exact, atol=1e-6)
    write_table(tmp_path / "n.parquet", NEAR_DUPLICATES, found, {})
    assert len(read_table(tmp_path / "n.parquet", NEAR_DUPLICATES)) == 20


def test_nothing_alike_gives_an_empty_table_that_changes_nothing(points, tmp_path):
    ids = [f"{i:02d}.jpg" for i in range(60)]
    found = near_duplicates(ids, points, cosine=1.0)[:0]
    write_table(tmp_path / "n.parquet", NEAR_DUPLICATES, found, {})
    images = pd.DataFrame({"image_id": ids, "content_group": ids})
    pd.testing.assert_frame_equal(with_near_duplicates(images, found), images)


def test_no_split_parts_a_pair_and_groups_join_through_pairs(points):
    ids = [f"{i:02d}.jpg" for i in range(60)]
    groups = [ids[i - i % 6] if i % 6 in (0, 4) else ids[i] for i in range(60)]
    images = pd.DataFrame({"image_id": ids, "content_group": groups, "scientific_name": ["a", "b", "c"] * 20})
    grouped = with_near_duplicates(images, near_duplicates(ids, points, cosine=0.95))
    # 0 and 4 are one group, 4 and 5 a pair; 1 and 2 are a pair; 3 is alone.
    assert grouped["content_group"].nunique() == 30
    for fold in range(3):
        split = make_split(grouped, f"holdout-{fold}", test_share=0.3, seed=5)
        part = dict(zip(split["image_id"], split["part"], strict=True))
        assert len(set(part.values())) == 2
        for i in range(0, 60, 6):
            assert part[ids[i]] == part[ids[i + 4]] == part[ids[i + 5]]
            assert part[ids[i + 1]] == part[ids[i + 2]]
