import math
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import timm
import torch
from conftest import RECIPE

from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.errors import CladeclipError, ConfigError, DataError
from cladeclip.training.checkpoint import save_checkpoint
from cladeclip.training.classes import of_classes
from cladeclip.training.head import Head
from cladeclip.training.loop import train, train_mode
from cladeclip.training.optimisation import make_optimiser, one_cycle
from cladeclip.training.pictures import EpochBatches

SETTINGS = replace(RECIPE, epochs=6, batch_size=16, lr=1e-3, augment="crop_flip", log_every=5)


@pytest.fixture(scope="session")
def labels(images):
    return np.unique(images["scientific_name"].to_numpy(dtype=str), return_inverse=True)[1]


def trained(student, store, images, labels, settings=SETTINGS, seed=5, workers=0):
    encoder = load_encoder(student)
    targets = of_classes(images["image_id"], labels, int(labels.max()) + 1)
    history = train(encoder, store, targets, settings, seed=seed, workers=workers)
    return encoder, history


def test_training_lowers_the_loss_and_leaves_the_text_tower_alone(student, store, images, labels):
    settings = replace(SETTINGS, epochs=30, margin_loss_m2=0.0)
    encoder, history = trained(student, store, images, labels, settings)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] - 0.5
    before, after = load_encoder(student).model.state_dict(), encoder.model.state_dict()
    changed = {key for key in after if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith("visual.") for key in changed)


def test_the_same_seed_gives_the_same_weights_whatever_the_number_of_workers(student, store, images, labels):
    runs = [trained(student, store, images, labels, workers=workers) for workers in (0, 0, 2)]
    other, _ = trained(student, store, images, labels, seed=6)
    for encoder, history in runs[1:]:
        assert history.equals(runs[0][1])
        for key, value in encoder.model.state_dict().items():
            assert torch.equal(value, runs[0][0].model.state_dict()[key]), key
    first = runs[0][0].model.state_dict()["visual.proj"]
    assert not torch.equal(first, other.model.state_dict()["visual.proj"])


class FirstStep(Exception):
    """Raised in place of the first optimiser step, with the gradients that it was to use."""


@pytest.mark.parametrize(("sample_rate", "num_feat"), [(1.0, 512), (0.5, 12)])
def test_accumulated_gradients_are_those_of_one_large_batch(
    student, store, images, labels, monkeypatch, sample_rate, num_feat
):
    def stop(self, draw, centres, **_):
        raise FirstStep(torch.arange(1) if draw.classes is None else draw.classes, centres.grad.clone())

    monkeypatch.setattr(Head, "update", stop)
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: None)
    ids, names = list(images["image_id"])[:32], labels[:32]
    common = replace(SETTINGS, epochs=20, sample_rate=sample_rate, num_feat=num_feat)
    gradients = []
    for changes in ({"batch_size": 32}, {"batch_size": 16, "gradient_acc": 2}, {"batch_size": 8, "gradient_acc": 4}):
        encoder = load_encoder(student)
        targets = of_classes(ids, names, int(names.max()) + 1)
        with pytest.raises(FirstStep) as step:
            train(encoder, store, targets, replace(common, **changes), seed=5, workers=0)
        gradients.append([*step.value.args, *(p.grad for p in encoder.tower.parameters() if p.grad is not None)])
    for other in gradients[1:]:
        for accumulated, large in zip(other, gradients[0], strict=True):
            torch.testing.assert_close(accumulated, large, rtol=1e-4, atol=1e-6)


def test_learning_rates_follow_the_closed_form_of_one_cycle():
    settings = replace(RECIPE, lr=3e-4, lr_pfc_weight=7.0, pct_start=0.25)
    total = 40
    optimiser = make_optimiser(torch.nn.Linear(4, 4), settings)
    schedule = one_cycle(settings, total)(optimiser)

    def cosine(start, end, share):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    for step in range(total):
        peak = 0.25 * total - 1
        low, last = 3e-4 / 25, 3e-4 / 25 / 1e4
        if step <= peak:
            lr, beta1 = cosine(low, 3e-4, step / peak), cosine(0.95, 0.85, step / peak)
        else:
            share = (step - peak) / (total - 1 - peak)
            lr, beta1 = cosine(3e-4, last, share), cosine(0.85, 0.95, share)
        (group,) = optimiser.param_groups
        assert group["lr"] == pytest.approx(lr, rel=1e-9)
        assert group["betas"][0] == pytest.approx(beta1, rel=1e-9)
        optimiser.step()
        if step < total - 1:
            schedule.step()


def test_every_epoch_sees_each_picture_at_most_once_and_drops_the_incomplete_batch():
    batches = list(EpochBatches(n=23, batch_size=5, epochs=3, seed=1))
    assert len(batches) == 3 * 4
    for epoch in range(3):
        seen = [position for batch in batches[4 * epoch : 4 * epoch + 4] for _, position in batch]
        assert len(set(seen)) == len(seen) == 20
        assert {key for batch in batches[4 * epoch : 4 * epoch + 4] for key, _ in batch} == {epoch}


def test_frozen_batch_normalisation_keeps_its_statistics():
    tower = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Dropout())
    train_mode(tower, "frozen")
    before = tower[1].running_mean.clone()
    tower(torch.randn(8, 3, 4, 4))
    assert torch.equal(tower[1].running_mean, before)
    assert tower[2].training
    train_mode(tower, "live")
    tower(torch.randn(8, 3, 4, 4))
    assert not torch.equal(tower[1].running_mean, before)


@pytest.mark.parametrize(
    ("changes", "one_class", "words"),
    [
        ({"batch_size": 100}, False, ["fewer than one batch", "train.batch_size (now 100)"]),
        ({"gradient_acc": 9}, False, ["train.gradient_acc (now 9)"]),
        ({"epochs": 1, "batch_size": 40}, False, ["too few", "train.epochs (now 1)"]),
        ({}, True, ["the same label", "labels.k"]),
        ({"lr": 1e30}, False, ["the loss is", "lower train.lr (now 1e+30)"]),
    ],
)
def test_what_cannot_be_trained_says_which_setting_to_change(student, store, images, labels, changes, one_class, words):
    with pytest.raises((ConfigError, DataError)) as caught:
        trained(student, store, images, 0 * labels if one_class else labels, replace(SETTINGS, **changes))
    for word in words:
        assert word in str(caught.value)


def pictures_as_batch(encoder, store, images):
    return torch.stack([encoder.transform(store.read(image_id)) for image_id in images["image_id"][:5]])


def test_open_clip_loads_the_checkpoint_and_embeds_the_same(student, store, images, labels, tmp_path):
    encoder, history = trained(student, store, images, labels)
    save_checkpoint(encoder, student, tmp_path, history)
    assert {path.name for path in tmp_path.iterdir()} == {
        "encoder.json",
        "model.safetensors",
        "open_clip_config.json",
        "training.csv",
    }
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    model.eval()
    theirs = torch.stack([transform(store.read(image_id)) for image_id in images["image_id"][:5]])
    with torch.inference_mode():
        by_open_clip = model.encode_image(theirs)
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{tmp_path}")(["a fish", "a bird"]))
    ours = load_encoder(tmp_path)
    torch.testing.assert_close(ours.encode_images(pictures_as_batch(ours, store, images)), by_open_clip)
    torch.testing.assert_close(load_encoder(student).text_encoder()(["a fish", "a bird"]), text)


def test_timm_loads_the_checkpoint_and_embeds_the_same(store, images, labels, tmp_path):
    definition = {"family": "timm", "architecture": "test_vit", "seed": 5, "image_px": 160}
    make_encoder_folder("tiny", definition, tmp_path / "source")
    encoder, history = trained(tmp_path / "source", store, images, labels, replace(SETTINGS, epochs=5))
    save_checkpoint(encoder, tmp_path / "source", tmp_path / "trained", history)
    ours = load_encoder(tmp_path / "trained")
    batch = pictures_as_batch(ours, store, images)
    model = timm.create_model(f"local-dir:{tmp_path / 'trained'}", pretrained=True).eval()
    with torch.inference_mode():
        torch.testing.assert_close(ours.encode_images(batch), model(batch))
    untrained = load_encoder(tmp_path / "source").encode_images(batch)
    assert not torch.allclose(untrained, ours.encode_images(batch))


def test_a_damaged_checkpoint_is_named(student, tmp_path):
    for file in student.iterdir():
        (tmp_path / file.name).write_bytes(
            file.read_bytes()[:-1000] if file.suffix == ".safetensors" else file.read_bytes()
        )
    with pytest.raises(CladeclipError, match=f"{tmp_path}: the encoder cannot be loaded"):
        load_encoder(tmp_path)


BATCHNORM_STUDENT = {"family": "timm", "architecture": "test_efficientnet", "seed": 5, "image_px": 48}
SHORT = replace(SETTINGS, epochs=3, batch_size=9, pct_start=0.2)
EFFECTS = {
    "epochs": 4,
    "batch_size": 12,
    "gradient_acc": 2,
    "lr": 2e-3,
    "lr_pfc_weight": 20,
    "weight_decay": 0.1,
    "pct_start": 0.3,
    "margin_loss_s": 16.0,
    "margin_loss_m2": 0.1,
    "margin_loss_filter": 0.1,
    "margin_gradient": "exact",
    "num_feat": 16,
    "sample_rate": 0.5,
    "augment": "none",
    "batchnorm": "live",
    "freeze": "stem",
    "ema": 0.5,
    "head_epochs": 1,
}


@pytest.fixture(scope="module")
def with_batchnorm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batchnorm")
    make_encoder_folder("it", BATCHNORM_STUDENT, folder)
    return folder


@pytest.fixture(scope="module")
def unchanged(with_batchnorm, store, images, labels):
    return trained(with_batchnorm, store, images, labels, SHORT)[0].model.state_dict()


@pytest.mark.parametrize("name", EFFECTS)
def test_every_setting_does_something(with_batchnorm, store, images, labels, unchanged, name):
    assert getattr(SHORT, name) != EFFECTS[name]
    encoder, _ = trained(with_batchnorm, store, images, labels, replace(SHORT, **{name: EFFECTS[name]}))
    changed = encoder.model.state_dict()
    assert any(not torch.equal(changed[key], unchanged[key]) for key in unchanged)


def test_the_cosine_margin_takes_the_place_of_the_angular_one(with_batchnorm, store, images, labels, unchanged):
    settings = replace(SHORT, loss="cosface", margin_loss_m3=0.4)
    changed = trained(with_batchnorm, store, images, labels, settings)[0].model.state_dict()
    assert any(not torch.equal(changed[key], unchanged[key]) for key in unchanged)
