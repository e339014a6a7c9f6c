"""A training that is cut off goes on where it was, and ends with the bytes of one that was not."""

import json
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RECIPE, started, until

from cladeclip.errors import CladeclipError, DataError
from cladeclip.io.embeddings import write_embeddings
from cladeclip.io.parquet import write_table
from cladeclip.names import Distillation
from cladeclip.tables import SPLIT
from cladeclip.training.job import TrainingJob, run_job
from cladeclip.training.specs import reader_of
from cladeclip.training.stopping import TO_SAVE, TO_STOP, Requests

CPU = torch.device("cpu")
# Of the first epochs the objective alone is trained: a kill falls there as well.
EPOCHS, HEAD_EPOCHS, STEPS_AN_EPOCH = 60, 12, 4
SETTINGS = replace(
    RECIPE,
    epochs=EPOCHS - HEAD_EPOCHS,
    head_epochs=HEAD_EPOCHS,
    batch_size=6,
    gradient_acc=2,
    lr=1e-3,
    sample_rate=0.5,
    num_feat=12,
    ema=0.9,
    log_every=7,
)


@pytest.fixture
def job(training_job):
    return replace(training_job, settings=asdict(SETTINGS))


@pytest.fixture
def whole(job, tmp_path):
    """The files of the same training, not cut off."""
    run_job(replace(job, checkpoint=str(tmp_path / "whole")), CPU)
    return files_of(tmp_path / "whole")


def files_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def saved_step(job):
    record = job.state_folder / "state.json"
    return json.loads(record.read_text())["step"] if record.exists() else 0


@pytest.mark.parametrize(("epoch", "workers"), [(0, 0), (10, 2), (30, 2)])
def test_after_kill_9_in_any_epoch_the_rerun_ends_with_the_same_bytes(job, whole, tmp_path, epoch, workers):
    job = replace(job, checkpoint_minutes=1e-4, workers=workers)
    process = started(job, 1, tmp_path / "log")
    until(lambda: saved_step(job) > epoch * STEPS_AN_EPOCH + 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not Path(job.checkpoint, "model.safetensors").exists()
    reached = saved_step(job)
    assert epoch * STEPS_AN_EPOCH < reached < EPOCHS * STEPS_AN_EPOCH
    # Whatever the number of loader workers, before and after.
    run_job(replace(job, workers=2 - workers), CPU)
    assert files_of(job.checkpoint) == whole
    assert not job.state_folder.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_of_the_job_saves_the_state_and_stops(job, whole, tmp_path, number):
    """As Slurm does it at the time limit, and a terminal at Ctrl-C: the loader's workers get it too."""
    process = started(replace(job, checkpoint_minutes=1e-3, workers=2), 1, tmp_path / "log")
    until(lambda: saved_step(job) > 0, process)
    os.killpg(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"its state is in {job.state_folder}. The same command goes on." in told
    run_job(job, CPU)
    assert files_of(job.checkpoint) == whole


def test_sigusr1_saves_the_state_and_training_goes_on(job, whole, tmp_path):
    process = started(job, 1, tmp_path / "log")
    until(lambda: "training: " in (tmp_path / "log").read_text() if (tmp_path / "log").exists() else False, process)
    process.send_signal(signal.SIGUSR1)
    until(lambda: saved_step(job) > 0, process)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert files_of(job.checkpoint) == whole


def test_a_request_to_stop_outranks_one_to_save():
    requests = Requests()
    requests.receive(signal.SIGUSR1, None)
    assert requests.take() == TO_SAVE
    requests.receive(signal.SIGTERM, None)
    requests.receive(signal.SIGUSR1, None)
    assert requests.take() == TO_STOP


@pytest.fixture
def cut_off(job, tmp_path):
    """A state that a training left."""
    job = replace(job, checkpoint_minutes=1e-4)
    process = started(job, 1, tmp_path / "log")
    until(lambda: saved_step(job) > 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return job


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": asdict(replace(SETTINGS, lr=2e-3))}, "train.lr 0.001, now 0.002"),
        ({"seed": 6}, "seed 5, now 6"),
        ({"code": "other"}, "the code's fingerprint"),
        ({"shuffled": 6}, "seeds.clusters of shuffled labels None, now 6"),
    ],
)
def test_the_state_of_another_training_is_refused(cut_off, changes, words):
    with pytest.raises(CladeclipError) as caught:
        run_job(replace(cut_off, **changes), CPU)
    assert words in str(caught.value)
    assert f"{cut_off.state_folder}: this is the state of an unfinished training" in str(caught.value)
    assert saved_step(cut_off) > 2


def test_a_state_that_cannot_be_read_is_not_used(cut_off, whole, caplog):
    for file in cut_off.state_folder.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])
    run_job(replace(cut_off, checkpoint_minutes=10), CPU)
    assert "training begins anew" in caplog.text
    assert files_of(cut_off.checkpoint) == whole


def test_a_full_disk_does_not_end_the_training(job, whole, monkeypatch, caplog):
    def full(tensors, path):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):  # the checkpoint needs the space as well
        run_job(replace(job, checkpoint_minutes=1e-2), CPU)
    assert "the training state could not be saved (No space left on device); training goes on." in caplog.text
    assert not list(job.state_folder.glob("*safetensors"))
    monkeypatch.undo()
    run_job(job, CPU)
    assert files_of(job.checkpoint) == whole


def test_after_a_loss_that_is_not_a_number_the_state_is_in_nobodys_way(job):
    spoilt = replace(job, settings=asdict(replace(SETTINGS, head_epochs=0, lr=1e30)), checkpoint_minutes=1e-9)
    with pytest.raises(DataError, match=r"lower train\.lr"):
        run_job(spoilt, CPU)
    assert not job.state_folder.exists()


def test_a_job_is_the_same_after_its_way_through_json(job):
    assert TrainingJob(**json.loads(json.dumps(asdict(job)))) == job


def test_a_distillation_goes_on_as_well(job, images, tmp_path):
    ids = sorted(images["image_id"])
    rows = np.random.default_rng(0).normal(size=(len(ids), 20)).astype(np.float32)
    write_embeddings(tmp_path / "teacher.parquet", ids, rows, {})
    split = images.assign(part="fit", part_alone="fit", group=images["content_group"])
    write_table(tmp_path / "split.parquet", SPLIT, split[list(SPLIT.columns)], {})
    job = replace(
        job,
        labels=[str(tmp_path / "teacher.parquet"), str(tmp_path / "split.parquet")],
        reader=reader_of(Distillation("teacher", "image")).place,
        checkpoint_minutes=1e-4,
    )
    process = started(job, 1, tmp_path / "log")
    until(lambda: saved_step(job) > (HEAD_EPOCHS + 2) * STEPS_AN_EPOCH, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    run_job(job, CPU)
    run_job(replace(job, checkpoint=str(tmp_path / "whole")), CPU)
    assert files_of(job.checkpoint) == files_of(tmp_path / "whole")
