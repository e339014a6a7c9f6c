"""No step waits for the device: it is taken on one that holds no numbers, from which nothing can be read."""

import importlib
import random
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from conftest import RECIPE
from torch.utils._python_dispatch import TorchDispatchMode

from cladeclip.encoders.load import load_encoder
from cladeclip.errors import DataError
from cladeclip.training.classes import of_classes
from cladeclip.training.distillation import Distillation
from cladeclip.training.loop import Training, train
from cladeclip.training.objective import Targets
from cladeclip.training.optimisation import one_cycle
from cladeclip.training.pictures import Read, drawn_erasure
from cladeclip.training.rand_augment import AFFINE, CONTRAST, NOTHING, WIDTH
from cladeclip.training.specs import LOSSES
from cladeclip.training.state import TrainingState

# Its tensors have shapes and no values: what would wait for a GPU (reading a value, counting what is not zero, a copy to the
# CPU) is an error.
NOWHERE = torch.device("meta")


class Operations(TorchDispatchMode):
    """Counts what is asked of torch."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def fused_anywhere(monkeypatch):
    """Lets torch's fused AdamW run where there are no values, too."""
    adam = importlib.import_module("torch.optim.adam")
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)


# (16, 2, WIDTH): pictures of which each has another operation of RandAugment.
EVERY_OPERATION = torch.zeros(16, 2, WIDTH)
EVERY_OPERATION[:, :, 0] = (torch.arange(16) % (CONTRAST + 1))[:, None]
EVERY_OPERATION[:, :, 1:] = torch.tensor([3, 1, 0.1, 0, 0, 1, 0])
assert set(EVERY_OPERATION[:, 0, 0].tolist()) >= {NOTHING, AFFINE, CONTRAST}


def operations_of_steps(student, n_classes, kind="classes", head_steps=0, **changes):
    """How many operations each of three steps asks for."""
    settings = replace(RECIPE, gradient_acc=2, **changes)
    rows = torch.arange(16)[:, None] * (n_classes // 16)
    targets = of_classes([], np.empty((0, 1)), n_classes)
    if kind == "joint":
        targets, rows = of_classes([], np.empty((0, 2)), n_classes, 20), torch.cat([rows, rows % 20], dim=1)
    if kind == "several":
        rows = (rows + torch.arange(4)) % n_classes
    if kind == "distillation":
        targets, rows = Targets([], np.empty((0, 10)), partial(Distillation, 10)), torch.rand(16, 10)
    training = Training(
        load_encoder(student),
        targets,
        settings,
        one_cycle(settings, 100),
        seed=5,
        device=NOWHERE,
        head_steps=head_steps,
    )
    random.seed(3)
    counts = []
    for _ in range(3):
        group = [
            (
                Read(
                    torch.zeros(16, 3, 32, 32, dtype=torch.uint8),
                    EVERY_OPERATION,
                    torch.stack([drawn_erasure(0.9, 32, 32) for _ in range(16)]),
                ),
                rows,
            )
            for _ in range(2)
        ]
        with Operations() as operations:
            training.take_step(group, epoch=1)
        counts.append(operations.count)
    return counts


SETTINGS = {
    "the published": {},
    "a sample of the centres": {"sample_rate": 0.1},
    "a part of the dimensions": {"num_feat": 8},
    "an average": {"ema": 0.9},
    "the exact gradient, filtered": {"margin_gradient": "exact", "margin_loss_filter": 0.1},
    "CosFace with a margin": {"loss": "cosface", "margin_loss_m3": 0.4},
    **{loss: {"loss": loss} for loss in LOSSES},
    "a frozen stem": {"freeze": "stem"},
    "a head start": {"head_steps": 10},
    "several numbers of clusters": {"kind": "joint"},
    "several clusters, of which two are drawn, sampled": {"kind": "several", "positives": 2, "sample_rate": 0.1},
    "distillation": {"kind": "distillation"},
}


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS.keys())
def test_no_step_waits_for_the_device(student, fused_anywhere, changes):
    first, *others = operations_of_steps(student, 200, **changes)
    # The first makes the optimiser's moments.
    assert first >= others[0] == others[1]


@pytest.mark.parametrize("sample_rate", [1.0, 0.1])
def test_a_step_asks_for_as_many_operations_whatever_the_number_of_classes(student, fused_anywhere, sample_rate):
    few, many = (operations_of_steps(student, n, sample_rate=sample_rate) for n in (2_000, 500_000))
    assert few == many


def test_the_device_that_holds_no_numbers_lets_none_be_read():
    """Of the test itself: what would wait is an error there."""
    values = torch.ones(3, device=NOWHERE)
    for read in (
        lambda values: float(values.sum()),
        torch.unique,
        torch.nonzero,
        lambda values: values[values > 0],
        lambda values: values.to("cpu"),
        lambda values: torch.zeros(3).copy_(values),
    ):
        with pytest.raises((RuntimeError, NotImplementedError)):
            read(values)


def test_a_loss_that_is_no_number_is_noticed_with_its_step(student):
    settings = replace(RECIPE, precision="fp32")
    targets = of_classes([], np.empty((0, 1)), 8)
    training = Training(
        load_encoder(student), targets, settings, one_cycle(settings, 100), seed=5, device=torch.device("cpu")
    )
    read = Read(
        torch.zeros(8, 3, 32, 32, dtype=torch.uint8), torch.zeros(8, 0, WIDTH), torch.zeros(8, 5, dtype=torch.int64)
    )
    for step in range(1, 5):
        if step == 3:
            training.objective.heads[0].centres[0] = torch.inf
        training.take_step([(read, torch.arange(8)[:, None])], epoch=1)
        assert training.first_without_loss() == (3 if step >= 3 else 0)


def test_no_state_is_saved_after_a_loss_that_is_no_number(student, store, images, tmp_path):
    """However rarely it is reported."""
    saved = []
    state = TrainingState(tmp_path / "state", {}, minutes=0)
    save = state.save
    state.save = lambda training, *rest: saved.append(training.step) or save(training, *rest)
    settings = replace(RECIPE, epochs=20, batch_size=16, lr=1e30, augment="crop_flip", log_every=10_000)
    labels = np.arange(len(images)) % 7
    with pytest.raises(DataError, match=r"the loss is not a number at step \d+ of") as error:
        train(
            load_encoder(student),
            store,
            of_classes(images["image_id"], labels, 7),
            settings,
            seed=5,
            workers=0,
            state=state,
        )
    wrong = int(re.search(r"at step (\d+) of", str(error.value))[1])
    assert 1 < wrong < 20
    assert saved == list(range(1, wrong))
    assert not state.folder.exists()
