"""Several processes against one, with gloo on the CPU: the same code as with nccl on GPUs."""

import json
import os
import signal
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from conftest import CLASSES, RECIPE, started, until

from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.open_clip_library import IN_JOB
from cladeclip.errors import CladeclipError
from cladeclip.training.classes import of_classes
from cladeclip.training.distillation import Distillation
from cladeclip.training.head import Head, initial_centres
from cladeclip.training.launch import launch
from cladeclip.training.loop import Training, picture_groups
from cladeclip.training.objective import Targets, targets_of
from cladeclip.training.optimisation import one_cycle
from cladeclip.training.processes import Processes
from cladeclip.training.specs import LOSSES

TOGETHER = 12
SETTINGS = replace(
    RECIPE, epochs=8, batch_size=TOGETHER, lr=1e-3, augment="timm", num_feat=12, margin_loss_filter=0.2, log_every=1
)


@pytest.fixture
def job(training_job, monkeypatch):
    monkeypatch.setenv(IN_JOB, "1")  # as in the workflow: processes import what they use
    return replace(training_job, settings=asdict(SETTINGS))


def targets_of_kind(kind, job):
    """What a student learns: the job's own classes, or another kind of targets of the same images."""
    own = targets_of(job.reader, job.labels, None)
    n, rng = len(own.image_ids), np.random.default_rng(4)
    match kind:
        case "joint":
            return of_classes(own.image_ids, np.stack([np.arange(n) % CLASSES, np.arange(n) % 5], axis=1), CLASSES, 5)
        case "several":
            return of_classes(own.image_ids, rng.random((n, CLASSES)).argsort(1)[:, :4], CLASSES)
        case "distillation":
            return Targets(own.image_ids, rng.normal(size=(n, 10)).astype(np.float32), partial(Distillation, 10))
    return own


def gradients_of_two_steps(rank, count, job, folder, kind="classes"):
    """The losses of two steps, and the gradients of encoder and centres, of one process among `count`."""
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    torch.set_num_threads(1)
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count)
    processes = Processes(rank, count)
    settings = replace(SETTINGS, batch_size=TOGETHER // count, loss=job.settings["loss"], positives=2)
    encoder = load_encoder(job.encoder)
    schedule = one_cycle(settings, 50)
    targets = targets_of_kind(kind, job)
    training = Training(encoder, targets, settings, schedule, seed=5, device=torch.device("cpu"), processes=processes)
    seen = {}
    heads, step = getattr(training.objective, "heads", []), training.optimiser.step

    def recorded(number, update):
        def recorded_update(draw, centres, **rest):
            seen[f"centres.{training.step}.{number}"] = centres.grad.clone()
            update(draw, centres, **rest)

        return recorded_update

    def recorded_step():
        for name, parameter in training.tower.named_parameters():
            seen[f"encoder.{training.step}.{name}"] = parameter.grad.clone()
        step()

    training.optimiser.step = recorded_step
    for number, head in enumerate(heads):
        head.update = recorded(number, head.update)
    groups = picture_groups(encoder, PictureStore(job.store), targets, settings, training, workers=0)
    losses = [float(training.take_step(next(groups), epoch=1).loss) for _ in range(2)]
    torch.save({"losses": losses, "seen": seen, "rows": [len(head.centres) for head in heads]}, f"{folder}/{rank}.pt")
    if count > 1:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("count", "loss", "kind"),
    [
        (3, "arcface", "classes"),
        *((2, loss, "classes") for loss in LOSSES),
        *((2, "arcface", kind) for kind in ("joint", "several", "distillation")),
    ],
)
def test_loss_and_gradients_of_every_step_are_those_of_one_process(job, tmp_path, count, loss, kind):
    job.settings["loss"] = loss
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    gradients_of_two_steps(0, 1, job, alone, kind)
    mp.spawn(gradients_of_two_steps, (count, job, together, kind), nprocs=count)
    expected = torch.load(alone / "0.pt")
    parts = [torch.load(together / f"{rank}.pt") for rank in range(count)]
    # No process holds more than its share of the centres.
    sizes = {"joint": (CLASSES, 5), "distillation": ()}.get(kind, (CLASSES,))
    for rank, part in enumerate(parts):
        assert part["rows"] == [n // count + (rank < n % count) for n in sizes]
    for part in parts:
        assert part["losses"] == pytest.approx(expected["losses"], rel=1e-5)
    for name, gradient in expected["seen"].items():
        if name.startswith("centres"):
            # The second step's follow from weights that Adam has moved by a gradient over its size, rounding as well.
            atol = 1e-6 if name.startswith("centres.1") else 2e-5
            torch.testing.assert_close(
                torch.cat([part["seen"][name] for part in parts]), gradient, rtol=1e-4, atol=atol
            )
        else:
            for part in parts:
                torch.testing.assert_close(part["seen"][name], gradient, rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_a_whole_run_has_the_loss_curve_of_one_process(job, tmp_path, count):
    launch(job, 1)
    several = replace(
        job,
        checkpoint=str(tmp_path / "several"),
        settings=job.settings | {"batch_size": TOGETHER // count},
        threads=count,
    )
    launch(several, count)
    alone, together = (pd.read_csv(tmp_path / name / "training.csv") for name in ("checkpoint", "several"))
    assert len(alone) == 8 * (len(pd.read_parquet(job.labels[0])) // TOGETHER)
    np.testing.assert_allclose(together, alone, rtol=2e-3)
    assert not (tmp_path / ".several.state").exists()


def test_the_centres_start_the_same_however_they_are_shared():
    whole = initial_centres(range(10_000), 4, 5)
    assert float(whole.std()) == pytest.approx(0.01, rel=0.02)
    for count in (2, 3, 7):
        shares = [Processes(rank, count).share_of(10_000) for rank in range(count)]
        assert [len(share) for share in shares] == [10_000 // count + (r < 10_000 % count) for r in range(count)]
        assert torch.equal(torch.cat([initial_centres(share, 4, 5) for share in shares]), whole)


def test_each_process_samples_its_own_classes_and_all_draw_the_same_dimensions():
    settings = replace(RECIPE, sample_rate=0.2, num_feat=5)
    labels = torch.tensor([[3], [60], [61]])
    draws = [Head(101, 8, settings, 5, Processes(rank, 2)).draw(labels, step=4) for rank in range(2)]
    assert [len(draw.classes) for draw in draws] == [10, 10]
    assert 3 in draws[0].classes
    assert int(draws[0].classes.max()) < 51
    assert {60, 61} <= set(draws[1].classes.tolist())
    assert int(draws[1].classes.min()) >= 51
    assert torch.equal(draws[0].dimensions, draws[1].dimensions)


def workers_of(process):
    """The training processes, once all of them are in the loop."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "cladeclip.training.job" in child.cmdline()]


@pytest.fixture
def long_job(job):
    return replace(job, settings=job.settings | {"epochs": 3000, "batch_size": 6}, checkpoint_minutes=1e-4)


def test_a_killed_worker_ends_the_whole_job_with_its_message(long_job, tmp_path):
    process = started(long_job, 2, tmp_path / "log")
    until(lambda: (long_job.state_folder / "state.json").exists(), process)
    workers = workers_of(process)
    assert len(workers) == 2
    workers[1].kill()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "training: process 1 was killed by SIGKILL" in told
    assert not any(worker.is_running() for worker in workers)


def test_workers_do_not_outlive_a_killed_launcher(long_job, tmp_path):
    process = started(long_job, 2, tmp_path / "log")
    until(lambda: (long_job.state_folder / "state.json").exists(), process)
    workers = workers_of(process)
    process.send_signal(signal.SIGKILL)
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_an_error_of_a_worker_is_the_error_of_the_job(job):
    with pytest.raises(CladeclipError, match=r"training: \d+ images are fewer than one batch; .*on each of 2 GPUs"):
        launch(replace(job, settings=job.settings | {"batch_size": 500}), 2)


def stopped_by_sigterm(job, tmp_path):
    """A job of two processes that SIGTERM stopped when it had saved a state, and what it said; a whole run lies beside."""
    job = replace(job, settings=job.settings | {"epochs": 40, "batch_size": 6}, threads=2)
    whole = replace(job, checkpoint=str(tmp_path / "whole"))
    launch(whole, 2)
    process = started(replace(job, checkpoint_minutes=1e-4), 2, tmp_path / "log")
    until(lambda: (job.state_folder / "state.json").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    return job, told


def test_sigterm_to_the_launcher_saves_the_state_and_the_next_run_ends_with_the_same_bytes(job, tmp_path):
    job, told = stopped_by_sigterm(job, tmp_path)
    assert "stopped by SIGTERM" in told
    assert json.loads((job.state_folder / "state.json").read_text())["step"] < 40 * 4
    launch(job, 2)
    for name in ("model.safetensors", "training.csv"):
        assert (tmp_path / "checkpoint" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_state_that_one_process_cannot_read_is_used_by_none(job, tmp_path):
    job, _ = stopped_by_sigterm(job, tmp_path)
    (part,) = job.state_folder.glob("*.1.safetensors")
    part.write_bytes(part.read_bytes()[:-100])
    launch(job, 2)
    assert (tmp_path / "checkpoint/training.csv").read_bytes() == (tmp_path / "whole/training.csv").read_bytes()
