"""The head with many classes, and what a step costs beyond the student's own work."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.embedding import CORES, encoder_folder, pictures_below
from benchmarks.measure import Row, measure, row
from cladeclip.config.sections import Train
from cladeclip.datasets.store import PictureStore, build_store
from cladeclip.demo.specimens import draw_specimens
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.training.classes import of_classes
from cladeclip.training.curves import Curves
from cladeclip.training.head import Head
from cladeclip.training.loop import Training, picture_groups, train_mode
from cladeclip.training.losses import ArcFace
from cladeclip.training.optimisation import one_cycle
from cladeclip.training.pictures import BatchFinish, EpochBatches, TrainingPictures, decoded, training_loader

DIM, BATCH = 512, 128
RECIPE = Train()
WARM = 2


def a_batch(n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(BATCH, DIM, generator=generator)
    return embeddings, torch.randint(n_classes, (BATCH,), generator=generator)


def our_head(n_classes: int, sample_rate: float, steps: int) -> float:
    """Median seconds of a step: draw, loss, backward to the embeddings and the centres, update."""
    head = Head(n_classes, DIM, replace(RECIPE, sample_rate=sample_rate), seed=5)
    embeddings, labels = a_batch(n_classes)
    labels, loss = labels[:, None], ArcFace(RECIPE)
    seconds = []
    for step in range(steps):
        start = time.perf_counter()
        leaf = embeddings.clone().requires_grad_()
        draw = head.draw(labels, step)
        centres = head.drawn_centres(draw)
        head.loss(loss, leaf, labels, draw.weights, draw, centres)[0].backward()
        head.update(draw, centres, step=step + 1, lr=1e-4, betas=(0.9, 0.999))
        del draw, centres
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[WARM:])


def linear_and_cross_entropy(n_classes: int, fused: bool, steps: int) -> float:
    """The plain way: a linear layer over all classes, softmax cross-entropy, AdamW as torch sets it up, or its fused one."""
    layer = nn.Linear(DIM, n_classes, bias=False)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-4, weight_decay=0.0, fused=fused or None)
    embeddings, labels = a_batch(n_classes)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        leaf = embeddings.clone().requires_grad_()
        functional.cross_entropy(layer(leaf), labels).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[WARM:])


def bare_steps(student: str, store: str, batch_size: int, steps: int, augment: str) -> float:
    """Median seconds of the student's forward and backward pass on a batch that lies in memory."""
    torch.set_num_threads(CORES)
    encoder = load_encoder(student)
    train_mode(encoder.tower, "frozen")
    batch = torch.randn(batch_size, 3, encoder.image_px, encoder.image_px)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        encoder.tower(batch).square().mean().backward()
        encoder.tower.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[WARM:])


def our_steps(student: str, store: str, batch_size: int, steps: int, augment: str) -> float:
    """Median seconds of a step of the training loop: pictures from the store, head, optimiser, reports."""
    torch.set_num_threads(CORES)
    encoder, pictures = load_encoder(student), PictureStore(store)
    ids = list(pictures.position)
    settings = replace(RECIPE, batch_size=batch_size, epochs=steps, augment=augment)
    targets = of_classes(ids, np.arange(len(ids)) % min(2000, len(ids)), 2000)
    schedule = one_cycle(settings, 10_000)
    training = Training(encoder, targets, settings, schedule, seed=5, device=torch.device("cpu"))
    groups = picture_groups(encoder, pictures, targets, settings, training, workers=CORES)
    with tempfile.TemporaryDirectory() as events:
        curves = Curves(settings.log_every, steps, batch_size, events=Path(events))
        seconds = []
        start = time.perf_counter()
        for group in groups:
            step = training.take_step(group, epoch=1)
            if curves.has(step.step):
                curves.add(step.report())
            now = time.perf_counter()
            seconds.append(now - start)
            start = now
            if training.step == steps:
                break
        curves.close()
    return statistics.median(seconds[WARM:])


def where_the_time_goes(student: str, store: str, batch_size: int, steps: int, augment: str) -> dict[str, float]:
    """Milliseconds of one core for each part of a step, one after the other in one process."""
    torch.set_num_threads(1)
    encoder, pictures = load_encoder(student), PictureStore(store)
    ids = list(pictures.position)
    settings = replace(RECIPE, batch_size=batch_size, epochs=steps, augment=augment)
    targets = torch.randint(min(2000, len(ids)), (steps, batch_size, 1))
    data = TrainingPictures(pictures, ids, encoder, augment, seed=5)
    loader = iter(training_loader(data, EpochBatches(len(ids), batch_size, steps, 5), workers=0, pin=False))
    finish = BatchFinish(encoder, augment, 5, torch.device("cpu"))
    learned = of_classes([], np.empty((0, 1)), 2000)
    training = Training(encoder, learned, settings, one_cycle(settings, 10_000), seed=5, device=torch.device("cpu"))
    parts: dict[str, list[float]] = {}

    def timed(name: str, start: float) -> None:
        parts.setdefault(name, []).append(1e3 * (time.perf_counter() - start))

    for number in range(steps):
        start = time.perf_counter()
        for position in range(batch_size):
            decoded(pictures.encoded(ids[(number * batch_size + position) % len(ids)]))
        timed("decode", start)
        start = time.perf_counter()
        read = next(loader)
        timed("decode, crop and flip", start)
        start = time.perf_counter()
        finished = finish(read)
        timed("RandAugment, normalise and erase", start)
        start = time.perf_counter()
        encoder.tower(finished).square().mean().backward()
        encoder.tower.zero_grad(set_to_none=True)
        timed("forward and backward", start)
        start = time.perf_counter()
        training.take_step([(read, targets[number])], epoch=1)
        timed("whole step without loading", start)
    return {name: statistics.median(values[WARM:]) for name, values in parts.items()}


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        for n_classes in (1_000, 10_000) if small else (10_000, 100_000, 500_000):
            yield from _head(n_classes)
        yield from _loop(small, data, folder)


def _head(n_classes: int) -> Iterator[Row]:
    steps, repeats = 8, 1
    found = {rate: measure(our_head, n_classes, rate, steps, repeats=repeats) for rate in (1.0, 0.1)}
    for fused in (False, True):
        _, peer_mb, peer_s = measure(linear_and_cross_entropy, n_classes, fused, steps, repeats=repeats)
        peer = f"nn.Linear, cross-entropy, AdamW{' (fused)' if fused else ''}"
        for sample_rate, (_, ours_mb, ours_s) in found.items():
            case = f"a step of the head, sample_rate {sample_rate:g}"
            note = f"D = {DIM}, batch {BATCH}; {ours_mb / peer_mb:.2f} x its memory"
            yield row("train", case, n_classes, ours_s, ours_mb, peer, peer_s, peer_mb, note)


def _loop(small: bool, data: Path | None, folder: str) -> Iterator[Row]:
    root = str(data) if data else f"{folder}/drawn"
    if data is None:
        draw_specimens(root, species_per_genus=2, images_per_species=8, image_px=320, seed=5)
    pictures = pictures_below(root, "*/images")[: 64 if small else 256]
    store = f"{folder}/288.arrow"
    build_store(root, pictures, store, side=288, workers=CORES)
    students = {"tiny student": (encoder_folder("config/demo.yaml", "specimen-vit", folder), 64, 8)}
    if not small:
        vit = f"{folder}/vit-b-32"
        make_encoder_folder("vit", {"family": "open_clip", "architecture": "ViT-B-32-quickgelu", "seed": 5}, Path(vit))
        students["ViT-B/32"] = (vit, 16, 14)
    for name, (student, batch_size, steps) in students.items():
        arguments: tuple[Any, ...] = (student, store, batch_size, steps, "timm")
        _, peer_mb, peer_s = measure(bare_steps, *arguments, repeats=1)
        _, ours_mb, ours_s = measure(our_steps, *arguments, repeats=1)
        _, _, parts = measure(where_the_time_goes, *arguments, repeats=1)
        note = f"overhead {ours_s / peer_s - 1:+.1%}; of one core, in ms a step: "
        note += ", ".join(f"{part} {milliseconds:.0f}" for part, milliseconds in parts.items())
        case = f"a step of the loop, {name}, batch {batch_size}"
        yield row("train", case, len(pictures), ours_s, ours_mb, "forward + backward alone", peer_s, peer_mb, note)
