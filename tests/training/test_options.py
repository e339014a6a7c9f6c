"""What may be changed about a training beyond the recipe: averaging, freezing, compiling, event files, no training."""

import json
import struct
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from conftest import DEVICE, RECIPE

from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import WEIGHTS, make_encoder_folder
from cladeclip.errors import ConfigError
from cladeclip.reporting.charts import loss_against_lr
from cladeclip.training.checkpoint import save_checkpoint
from cladeclip.training.classes import of_classes
from cladeclip.training.curves import COLUMNS
from cladeclip.training.interpolation import interpolate
from cladeclip.training.job import run_job
from cladeclip.training.loop import Training, picture_groups, train
from cladeclip.training.lr_range import lr_range
from cladeclip.training.optimisation import one_cycle

SETTINGS = replace(RECIPE, epochs=6, batch_size=9, lr=1e-3, augment="crop_flip", log_every=4)


def data(store, images):
    return store, of_classes(images["image_id"], np.arange(len(images)) % 7, 7)


def trained(student, store, images, settings=SETTINGS):
    encoder = load_encoder(student)
    history = train(encoder, *data(store, images), settings, seed=5, workers=0)
    return encoder.model.state_dict(), history


def test_the_average_is_the_one_of_its_definition(student, store, images, monkeypatch):
    weights = []
    step = torch.optim.AdamW.step

    def recorded(self, *arguments, **rest):
        step(self, *arguments, **rest)
        weights.append(self.param_groups[0]["params"][0].detach().double().clone())

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    averaged, _ = trained(student, store, images, replace(SETTINGS, ema=0.8))
    first = next(name for name, _ in load_encoder(student).tower.named_parameters())
    expected = weights[0]
    for value in weights[1:]:
        expected = 0.8 * expected + 0.2 * value
    torch.testing.assert_close(averaged[f"visual.{first}"], expected.float(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(averaged[f"visual.{first}"], weights[-1].float(), rtol=1e-5, atol=1e-6)


def test_what_is_frozen_stays_and_the_rest_is_trained(student, store, images):
    before = load_encoder(student).model.state_dict()
    after, _ = trained(student, store, images, replace(SETTINGS, freeze="all_but_last_1"))
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert "visual.proj" in changed
    assert all(name.startswith(("visual.transformer.resblocks.0", "visual.ln_post", "visual.proj")) for name in changed)


def test_no_epoch_is_the_untrained_student(training_job, student):
    run_job(replace(training_job, settings=asdict(replace(SETTINGS, epochs=0))), DEVICE)
    made = load_encoder(training_job.checkpoint).model.state_dict()
    before = load_encoder(student).model.state_dict()
    assert all(torch.equal(made[name], before[name]) for name in before)
    history = pd.read_csv(f"{training_job.checkpoint}/training.csv")
    assert (len(history), tuple(history.columns)) == (0, COLUMNS)


def test_a_compiled_encoder_trains_alike(student, store, images, monkeypatch):
    # Traced and differentiated as for every backend; the last step, C++ or Triton code, would need a compiler here.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    settings = replace(SETTINGS, epochs=2, batch_size=18, log_every=1, pct_start=0.3)
    _, plain = trained(student, store, images, settings)
    after, compiled = trained(student, store, images, replace(settings, compile=True))
    np.testing.assert_allclose(compiled["loss"], plain["loss"], rtol=1e-3)
    assert set(after) == set(load_encoder(student).model.state_dict())


def events_of(folder):
    """TensorBoard's records: length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            found.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += 16 + length
    return [(event.step, value.tag, value.simple_value) for event in found for value in event.summary.value]


def test_tensorboard_shows_the_rows_of_training_csv_and_the_pictures_a_second(training_job, tmp_path):
    run_job(replace(training_job, settings=asdict(SETTINGS), events=str(tmp_path / "events")), DEVICE)
    history = pd.read_csv(f"{training_job.checkpoint}/training.csv").set_index("step")
    events = events_of(tmp_path / "events")
    shown = {(step, tag.removeprefix("train/")): value for step, tag, value in events}
    for name in COLUMNS[1:]:
        for step, value in history[name].items():
            assert shown[step, name] == pytest.approx(value, rel=1e-5)
    speeds = [value for _, tag, value in events if tag == "train/pictures_per_second"]
    assert len(speeds) == len(history)
    assert min(speeds) > 0


def test_the_range_test_walks_its_rates_and_ends_where_the_loss_explodes(student, store, images):
    bounds = {"lowest": 1e-5, "highest": 1e2, "steps": 60}
    found = lr_range(load_encoder(student), *data(store, images), SETTINGS, seed=5, workers=0, **bounds)
    expected = 1e-5 * 1e7 ** (np.arange(len(found)) / 59)
    np.testing.assert_allclose(found["lr_encoder"], expected, rtol=1e-9)
    np.testing.assert_allclose(found["lr_centres"], 10 * expected, rtol=1e-9)
    assert 10 < len(found) <= 60
    # The first losses are those of the untrained student: the weighted mean starts there.
    assert found["smoothed_loss"][0] == pytest.approx(found["loss"][0])
    assert loss_against_lr(found).startswith("<svg")
    with pytest.raises(ConfigError, match=r"lr_range\.lowest is 1"):
        lr_range(
            load_encoder(student), *data(store, images), SETTINGS, seed=5, workers=0, lowest=1, highest=0.1, steps=3
        )


def test_a_vit_b_32_of_openais_shape_is_trained_and_open_clip_loads_it(store, images, tmp_path):
    definition = {"family": "open_clip", "architecture": "ViT-B-32-quickgelu", "seed": 5}
    make_encoder_folder("vit-b-32", definition, tmp_path / "before")
    encoder = load_encoder(tmp_path / "before")
    settings = replace(SETTINGS, epochs=1, batch_size=3, pct_start=0.5, lr=1e-4)
    ids = list(images["image_id"])[:9]
    targets = of_classes(ids, np.arange(9) % 2, 2)
    history = train(encoder, store, targets, settings, seed=5, workers=0)
    save_checkpoint(encoder, tmp_path / "before", tmp_path / "after", history)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'after'}")
    before, after = (
        open_clip.create_model(f"local-dir:{tmp_path / name}").state_dict() for name in ("before", "after")
    )
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)
    batch = torch.stack([transform(store.read(image_id)) for image_id in ids[:3]])
    with torch.inference_mode():
        theirs = model.eval().encode_image(batch)
    ours = load_encoder(tmp_path / "after")
    pictures = torch.stack([ours.transform(store.read(image_id)) for image_id in ids[:3]])
    torch.testing.assert_close(ours.encode_images(pictures), theirs, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "after" / WEIGHTS).stat().st_size > 500e6
    for folder in ("before", "after"):
        (tmp_path / folder / WEIGHTS).unlink()


def test_pybioclip_embeds_with_a_checkpoint(training_job, specimens, images, tmp_path):
    run_job(replace(training_job, settings=asdict(SETTINGS)), DEVICE)
    pictures = [str(Path(specimens, image_id)) for image_id in images["image_id"][:3]]
    command = [
        str(Path(sys.executable).with_name("bioclip")),
        "embed",
        "--model",
        f"local-dir:{training_job.checkpoint}",
    ]
    told = subprocess.run([*command, *pictures], capture_output=True, text=True, check=True).stdout
    theirs = torch.tensor(list(json.loads(told)["embeddings"].values()))
    encoder = load_encoder(training_job.checkpoint)
    ours = embed_images(encoder, specimens, list(images["image_id"][:3]), batch_size=3, workers=1, decode="exact")
    torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-4, atol=1e-4)


def test_a_head_start_trains_the_centres_alone_and_then_goes_as_without_one(store, images, tmp_path):
    """The encoder's schedule begins after it; its weights move in no step before."""
    targets = of_classes(images["image_id"], np.arange(len(images)) % 7, 7)
    settings = replace(SETTINGS, head_epochs=2, log_every=1, batchnorm="live")
    # With batch normalisation, whose statistics are of the encoder, too.
    folder = tmp_path / "resnet"
    make_encoder_folder("resnet", {"family": "timm", "architecture": "test_resnet", "seed": 5, "image_px": 32}, folder)
    encoder = load_encoder(folder)
    before = {name: value.clone() for name, value in encoder.tower.state_dict().items()}
    steps_an_epoch = len(images) // settings.batch_size
    tuned = settings.epochs * steps_an_epoch
    head_steps = 2 * steps_an_epoch
    training = Training(
        encoder, targets, settings, one_cycle(settings, tuned), seed=5, device=DEVICE, head_steps=head_steps
    )
    centres = training.objective.heads[0].centres.clone()
    rates = []
    for step, group in enumerate(picture_groups(encoder, store, targets, settings, training, workers=0)):
        taken = training.take_step(group, epoch=1)
        rates.append((taken.lr_encoder, taken.lr_centres))
        same = all(torch.equal(value, before[name]) for name, value in encoder.tower.state_dict().items())
        assert same == (step < head_steps)
    assert not torch.equal(training.objective.heads[0].centres, centres)
    assert rates[:head_steps] == [(0.0, settings.lr * settings.lr_pfc_weight)] * head_steps
    history = train(load_encoder(folder), store, targets, replace(settings, head_epochs=0), seed=5, workers=0)
    assert [rate for rate, _ in rates[head_steps:]] == pytest.approx(list(history["lr_encoder"]))


@pytest.mark.parametrize("alpha", [0.25, 0.8])
def test_interpolated_weights_are_those_of_the_definition_and_the_library_loads_them(
    training_job, student, images, store, tmp_path, alpha
):
    run_job(replace(training_job, settings=asdict(replace(SETTINGS, batchnorm="live"))), DEVICE)
    interpolate(Path(student), Path(training_job.checkpoint), alpha, tmp_path / "between")
    first, last, between = (
        load_encoder(folder).model.state_dict() for folder in (student, training_job.checkpoint, tmp_path / "between")
    )
    assert any(not torch.equal(first[name], last[name]) for name in first)
    for name, value in between.items():
        torch.testing.assert_close(value, first[name] + alpha * (last[name] - first[name]), rtol=1e-5, atol=1e-7)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'between'}")
    torch.testing.assert_close(model.state_dict()["visual.proj"], between["visual.proj"])
    assert {path.name for path in (tmp_path / "between").iterdir()} == {
        path.name for path in Path(training_job.checkpoint).iterdir()
    } - {"training.csv"}
