"""Small drawn data that many tests share."""

import os
import re
import shutil
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from warm import Warm

from cladeclip.config.sections import Train
from cladeclip.datasets.listing import refresh_listing
from cladeclip.datasets.prepare import prepare
from cladeclip.datasets.store import PictureStore, build_store
from cladeclip.demo.specimens import draw_specimens
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.io.parquet import read_table, write_table
from cladeclip.names import ControlLabels
from cladeclip.run.new_config import SHIPPED
from cladeclip.tables import CLUSTERS, LISTING
from cladeclip.training.job import TrainingJob
from cladeclip.training.specs import reader_of

REPOSITORY = Path(__file__).parents[1]
# Pictures with mixed licences cannot be part of the repository; CI lays them beside it.
REAL_PICTURES = REPOSITORY.parent / "shared" / "data" / "vlm4bio-mini"

# The published settings, which tests vary.
RECIPE = Train()

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Where what takes a device is tried; `make gpu-check` names a GPU.
DEVICE = torch.device(os.environ.get("CLADECLIP_DEVICE", "cpu"))


def pytest_configure():
    """Evaluation and hierarchy compute on the CPU where nothing is said, which tests do not: here they take DEVICE."""
    if DEVICE.type == "cpu":
        return
    from cladeclip.evaluation import evaluate, probe, search
    from cladeclip.hierarchy import classifier, heads, novelty
    from cladeclip.hierarchy import evaluate as of_hierarchy

    for function in (
        evaluate.evaluate,
        probe.linear_probe,
        search.search,
        search.nearest,
        of_hierarchy.evaluate_hierarchy,
        classifier.fit_classifier,
        heads.fit_heads,
        novelty.Known.__init__,
    ):
        function.__kwdefaults__["device"] = DEVICE


def copy_configs(folder):
    """The workflow's own configs, without those that its user wrote beside them."""
    folder.mkdir()
    for name in SHIPPED:
        shutil.copy(REPOSITORY / "config" / f"{name}.yaml", folder)
    return folder


def environment_of_jobs():
    """What decides how fast, where and with which code a process computes."""
    return {name: value for name, value in os.environ.items() if re.match("PYTHON|CUDA|MALLOC|.*_NUM_THREADS", name)}


# The files that take longest: with several workers, they begin first, and what is short fills the rest. test_workflow.py
# comes after test_reruns.py, since it runs with other settings at last what they share.
LONGEST = ("test_faults", "test_reruns", "test_workflow", "test_training_jobs", "test_distributed", "test_state")


def pytest_collection_modifyitems(items):
    order = {name: position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True)
def same_environment():
    """A test that left such a variable behind would change what later ones start."""
    before = environment_of_jobs()
    yield
    assert environment_of_jobs() == before


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


TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    """The folder of a tiny CLIP with random weights."""
    folder = tmp_path_factory.mktemp("student")
    make_encoder_folder("tiny", {"family": "open_clip", "architecture": TINY, "seed": 5}, folder)
    return folder


@pytest.fixture(scope="session")
def store(specimens, images, tmp_path_factory):
    """The store of the drawn pictures."""
    path = tmp_path_factory.mktemp("store") / "36.arrow"
    build_store(specimens, list(images["image_id"]), path, side=36, workers=1)
    return PictureStore(path)


CLASSES = 7


@pytest.fixture
def training_job(student, store, images, tmp_path):
    """A training of the tiny CLIP on CLASSES classes without meaning; its settings are still to be given."""
    ids = sorted(images["image_id"])
    frame = pd.DataFrame({"image_id": ids, "label": np.arange(len(ids)) % CLASSES, "distance": np.float32(0)})
    write_table(tmp_path / "labels.parquet", CLUSTERS, frame, {"n_classes": frame["label"].max() + 1})
    return TrainingJob(
        encoder=str(student),
        store=store.path,
        labels=[str(tmp_path / "labels.parquet")],
        reader=reader_of(ControlLabels("species")).place,
        checkpoint=str(tmp_path / "checkpoint"),
    )


@cache
def warm():
    """The process that warm ones are forks of; it ends with the tests."""
    return Warm()


def launch_logged(job, gpus, log):
    """What the script of the rule `train` does."""
    from cladeclip.run.job_log import job_log
    from cladeclip.training.launch import launch

    with job_log(log):
        launch(TrainingJob(**job), gpus)


def started(job, gpus, log):
    """A training in a process (group) of its own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return warm().start("conftest:launch_logged", [asdict(job), gpus, str(log)], log.with_name(f"{log.name}.terminal"))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A finished run of tests/workflow/tiny.yaml, which takes a minute or two. Every test leaves it as it was."""
    from checkout import Checkout  # it lies beside the tests of the workflow

    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    # What its jobs call is noted for test_stale_code.py.
    checkout.WARM = "traced_snakemake:run"
    checkout.run()
    del checkout.WARM
    return checkout


def flip(path):
    """Another bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def until(happened, process, seconds=90):
    """Waits until `happened()`; fails when the process ends before, or takes longer."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"the process ended with {process.returncode}: {process.said}"
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, for the pages that are made."""
    # Where tests run on a GPU machine, it is not installed.
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
