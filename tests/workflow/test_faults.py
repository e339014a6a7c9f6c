"""Disks that are full, read-only or forget, two snakemakes at once, clocks that disagree, thousands of broken pictures."""

import os
import random
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
import yaml
from checkout import TINY, Checkout
from conftest import flip, until
from torture import bytes_of, kill_again_and_again

from cladeclip.io.parquet import read_table
from cladeclip.tables import IMAGES, QUARANTINE

FULL = "the disk is full"
LABELS = "handmade-image-k4"
MODEL = f"tiny-timm.{LABELS}.seed5"


@pytest.fixture(scope="module")
def one_student(tmp_path_factory):
    """A config of few and light jobs, from the pictures to the report: without texts, and without importing open_clip."""
    path = tmp_path_factory.mktemp("config") / "one-student.yaml"
    changes = {
        "labels": {"teachers": ["handmade"], "features": ["image"], "k": [4], "controls": []},
        "students": ["tiny-timm"],
        "baselines": [],
    }
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | changes))
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, one_student):
    checkout = Checkout(tmp_path_factory.mktemp("undisturbed"), one_student)
    start = time.monotonic()
    checkout.run()
    checkout.seconds = time.monotonic() - start
    return checkout


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory, one_student):
    """A checkout whose results lie on a disk of a size that can be changed."""
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    checkout = Checkout(tmp_path_factory.mktemp("faults"), one_student)
    results = checkout.folder / "results"
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1k", "tmpfs", results], check=True)
    yield checkout
    subprocess.run(["umount", results], check=True)


def remount(checkout, options):
    subprocess.run(["mount", "-o", f"remount,{options}", checkout.folder / "results"], check=True)


@pytest.fixture(scope="module")
def finished(undisturbed, small_disk):
    """A run on one core that met a full disk three times and was killed three times; what snakemake said of the disk."""
    used = sum(path.stat().st_blocks * 512 for path in undisturbed.results.rglob("*") if path.is_file())
    said = []
    for share in (0.05, 0.2, 0.4):
        remount(small_disk, f"size={int(share * used)}")
        said.append(small_disk.snakemake(cores=1))
    remount(small_disk, f"size={3 * used}")
    expected = bytes_of(undisturbed.results)
    kill_again_and_again(small_disk, kills=3, seed=5, expected=expected, within=undisturbed.seconds)
    small_disk.run(cores=1)
    return said


def test_full_disks_and_kills_cost_nothing_that_was_done(undisturbed, small_disk, finished):
    for code, output in finished:
        assert code != 0
        assert FULL in output or "No space left on device" in output, output
    assert any(FULL in output for _, output in finished)
    # What was done on one core before and after is what two cores do without a fault.
    assert bytes_of(small_disk.results) == bytes_of(undisturbed.results)
    assert small_disk.plan() == {}


def test_read_only_results_are_named_and_stay_as_they_are(small_disk, finished):
    before = bytes_of(small_disk.results)
    remount(small_disk, "ro")
    code, output = small_disk.snakemake("results/tiny/summary.json", "--forcerun", "compare")
    remount(small_disk, "rw")
    assert code != 0
    assert "Write-protected output files for rule" in output
    assert bytes_of(small_disk.results) == before
    assert small_disk.plan() == {}


def test_a_second_snakemake_refuses_while_the_first_goes_on(small_disk, finished):
    before = bytes_of(small_disk.results)
    shutil.rmtree(small_disk.results / "holdout-0" / "evaluation")
    first = small_disk.start()
    locks = small_disk.folder / ".snakemake" / "locks"
    until(lambda: any(locks.glob("*.output.lock")), first)
    code, output = small_disk.snakemake()
    assert first.poll() is None
    assert code != 0
    assert "another Snakemake process" in output or "no other Snakemake process" in output, output
    assert first.wait(timeout=600) == 0
    assert bytes_of(small_disk.results) == before


def test_after_ctrl_c_the_same_command_goes_on(small_disk, finished):
    before = bytes_of(small_disk.results)
    shutil.rmtree(small_disk.results / "holdout-0" / "checkpoints")
    logs = small_disk.results / "logs" / "train"
    shutil.rmtree(logs)
    process = small_disk.start()
    until(logs.exists, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    small_disk.run()  # without --unlock
    assert bytes_of(small_disk.results) == before


def test_clocks_that_disagree_make_nothing_stale(small_disk, finished):
    """As after a restore, on network disks, or with a node whose clock is a day ahead."""
    before, draw = bytes_of(small_disk.results), random.Random(5)
    for path in sorted(small_disk.results.rglob("*")):
        if path.is_file() and not path.name.startswith(".snakemake"):
            moment = time.time() + draw.uniform(-86400, 86400)
            os.utime(path, (moment, moment))
    assert small_disk.plan() == {}
    # A job whose inputs are of tomorrow: Snakemake stops, names the file and the cause, and leaves nothing of the job.
    checkpoint = small_disk.results / "holdout-0" / "checkpoints" / MODEL / "model.safetensors"
    checkpoint.unlink()
    tomorrow = time.time() + 86400
    os.utime(small_disk.results / "holdout-0" / "clusters" / f"{LABELS}.parquet", (tomorrow, tomorrow))
    code, output = small_disk.snakemake()
    assert code != 0
    assert "clock skew" in output
    assert not checkpoint.exists()
    # What docs/files.md says to do.
    subprocess.run(["find", "results", "-type", "f", "-exec", "touch", "{}", "+"], cwd=small_disk.folder, check=True)
    small_disk.run()
    assert small_disk.plan() == {}
    assert bytes_of(small_disk.results) == before


def test_damaged_results_are_named_and_made_again_with_the_same_bytes(small_disk, finished):
    before = bytes_of(small_disk.results)
    small_disk.run("verify")
    damaged = [
        small_disk.results / "comparison.parquet",
        small_disk.results / "holdout-0" / "checkpoints" / MODEL / "model.safetensors",
        small_disk.results / "embeddings" / "handmade" / "image.parquet",
        *(small_disk.results / "store").glob("*.arrow"),
    ]
    for path in damaged:
        status = path.stat()
        flip(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk that forgets does it
    code, output = small_disk.snakemake("verify")
    assert code != 0
    for path in damaged:
        assert f"{path.relative_to(small_disk.folder)} (other bytes)" in output
    assert "Traceback" not in output
    small_disk.run("repair")
    assert not any(path.exists() for path in damaged)
    small_disk.run()
    assert bytes_of(small_disk.results) == before
    small_disk.run("verify")


def test_ten_thousand_pictures_that_cannot_be_read_are_listed_and_the_others_used(small_disk, finished):
    folder = small_disk.folder / "data" / "broken"
    shutil.copytree(small_disk.folder / "data" / "tiny", folder)
    metadata = folder / "Fish" / "metadata" / "metadata_10k.csv"
    names = [f"Piscator_rubra_broken_{number:05}.jpg" for number in range(10_000)]
    for name in names:
        (folder / "Fish" / "images" / name).write_bytes(b"\xff\xd8 not a picture")
    rows = pd.DataFrame({"fileNameAsDelivered": names, "scientificName": "Piscator rubra"})
    pd.concat([pd.read_csv(metadata, index_col=0), rows], ignore_index=True).to_csv(metadata)
    dataset = {"name": "broken", "root": "data/broken"}
    config, target = small_disk.with_config(dataset=dataset), "results/broken/images.parquet"
    code, output = small_disk.snakemake(target, config=config)
    assert code != 0
    assert "dataset.max_rejected = 0.05 allows" in output
    config = small_disk.with_config(dataset=dataset | {"max_rejected": 1})
    began = time.monotonic()
    small_disk.run(target, config=config)
    assert time.monotonic() - began < 120
    results = small_disk.folder / "results" / "broken"
    assert len(read_table(results / "images.parquet", IMAGES)) == 72
    quarantine = read_table(results / "quarantine.parquet", QUARANTINE)
    assert set(names) == {path.rpartition("/")[2] for path in quarantine["image_id"]}
