"""Small drawn data that many tests share."""

import os
from pathlib import Path

import pytest
import yaml

from cladeclip.datasets.listing import refresh_listing
from cladeclip.datasets.prepare import prepare
from cladeclip.demo.specimens import draw_specimens
from cladeclip.tables import LISTING, read_table
from cladeclip.training.settings import TrainSettings

REPOSITORY = Path(__file__).parents[1]
# Pictures with mixed licences cannot be part of the repository; CI lays them beside it.
REAL_PICTURES = REPOSITORY.parent / "shared" / "data" / "vlm4bio-mini"

# The published settings, which tests vary.
RECIPE = TrainSettings.from_config(yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())["train"])

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def specimens(tmp_path_factory):
    """A folder of 54 drawn pictures: 9 genera, one species each."""
    root = tmp_path_factory.mktemp("specimens")
    draw_specimens(root, species_per_genus=1, images_per_species=6, image_px=48, seed=5)
    return root


@pytest.fixture(scope="session")
def images(specimens, tmp_path_factory):
    """The `images` table of the drawn pictures."""
    listing = tmp_path_factory.mktemp("listing") / "listing.parquet"
    refresh_listing(specimens, listing)
    dataset = {"layout": "vlm4bio", "max_rejected": 0.0}
    return prepare(specimens, read_table(listing, LISTING), dataset, workers=1)[0]


@pytest.fixture(scope="session")
def real_pictures():
    if not REAL_PICTURES.is_dir():
        pytest.skip("the real pictures (shared/data/vlm4bio-mini) are not beside this checkout")
    return REAL_PICTURES
