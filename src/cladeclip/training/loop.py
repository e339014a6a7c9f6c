"""The training loop: an encoder and a head of class centres, one optimiser step after the other."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.encoder import Encoder, choose_device
from cladeclip.errors import ConfigError, DataError
from cladeclip.progress import progress
from cladeclip.training.head import Head
from cladeclip.training.pictures import BatchFinish, EpochBatches, TrainingPictures, seeded, training_loader
from cladeclip.training.settings import TrainSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """What one optimiser step showed: a row of training.csv."""

    step: int
    epoch: int
    loss: float
    target_cosine: float
    positive_share: float
    lr_encoder: float
    lr_centres: float


def train(
    encoder: Encoder,
    store: PictureStore,
    image_ids: list[str],
    labels: np.ndarray,
    settings: TrainSettings,
    *,
    seed: int,
    workers: int,
    device: str = "auto",
) -> pd.DataFrame:
    """Trains `encoder.tower` in place on pictures with class labels 0..K-1.

    Args:
        labels: (n,) int64.
        workers: processes that read and augment; the result does not depend on their number.

    Returns:
        The table of training.csv: a StepReport every `log_every` steps and at the last.

    Raises:
        ConfigError, DataError: the settings and the data cannot go together, or the loss is not a number.
    """
    where = choose_device(device)
    n_classes = int(labels.max()) + 1
    batches = EpochBatches(len(image_ids), settings.batch_size, settings.epochs, seed)
    total = check_feasible(len(image_ids), n_classes, batches.per_epoch, settings)

    torch.manual_seed(seed)
    encoder = encoder.to(where)
    head = Head(n_classes, encoder.dim, settings, torch.Generator().manual_seed(seed)).to(where)
    optimiser, schedule = make_optimiser(encoder.tower, head, settings, total)
    pictures = TrainingPictures(store, image_ids, labels, encoder, settings.augment, seed)
    loader = training_loader(pictures, batches, workers=workers, pin=where.type == "cuda")
    finish = BatchFinish(encoder, settings.augment, seed, where)
    autocast = torch.autocast(where.type, torch.bfloat16, enabled=settings.precision == "auto" and where.type == "cuda")
    train_mode(encoder.tower, settings.batchnorm)

    reports = []
    # Dropout and stochastic depth draw from torch's own stream, which must not depend on what ran before.
    with seeded(seed):
        steps = steps_of(loader, settings.epochs, batches.per_epoch, settings.gradient_acc)
        bar = progress(steps, total=total, desc="training", unit="steps")
        for step, group in enumerate(bar):
            step_labels = torch.cat([batch_labels for _, batch_labels in group])
            draw = head.draw(step_labels)
            centres = head.drawn_centres(draw)
            losses, cosines = [], []
            for number, (batch, batch_labels) in enumerate(group, start=step * settings.gradient_acc):
                batch = finish(batch, number)
                with autocast:
                    embeddings = encoder.tower(batch)
                loss, cosine = head.loss(embeddings, batch_labels.to(where), draw, centres)
                (loss / len(group)).backward()
                losses.append(loss.detach())
                cosines.append(cosine)
            loss_value = float(torch.stack(losses).mean())
            if not math.isfinite(loss_value):
                raise DataError(
                    f"training: the loss is {loss_value} at step {step + 1} of {total}; lower train.lr "
                    f"(now {settings.lr}), or set train.precision to fp32."
                )
            encoder_group, centre_group = optimiser.param_groups
            lr_encoder, lr_centres = encoder_group["lr"], centre_group["lr"]
            optimiser.step()
            head.step(draw, centres, lr=lr_centres, betas=centre_group["betas"], eps=centre_group["eps"])
            optimiser.zero_grad(set_to_none=True)
            schedule.step()
            if step % settings.log_every == 0 or step == total - 1:
                reports.append(
                    StepReport(
                        step=step + 1,
                        epoch=step // (total // settings.epochs) + 1,
                        loss=loss_value,
                        target_cosine=float(torch.stack(cosines).mean()),
                        positive_share=len(torch.unique(step_labels)) / len(draw.classes),
                        lr_encoder=lr_encoder,
                        lr_centres=lr_centres,
                    )
                )
                bar.set_postfix(loss=f"{loss_value:.3f}", refresh=False)
    encoder.tower.eval()
    return pd.DataFrame(reports)


def check_feasible(n_images: int, n_classes: int, batches_per_epoch: int, settings: TrainSettings) -> int:
    """The number of optimiser steps, or one clear sentence why there can be none.

    Raises:
        ConfigError: the settings leave no step, or too few for the schedule.
        DataError: there is only one class.
    """
    if n_classes < 2:
        raise DataError("training: all images have the same label; raise labels.k, or check the data.")
    if n_images < settings.batch_size:
        raise ConfigError(
            f"training: {n_images} images are fewer than one batch; lower train.batch_size (now {settings.batch_size})."
        )
    total = settings.epochs * (batches_per_epoch // settings.gradient_acc)
    if total == 0:
        raise ConfigError(
            f"training: an epoch has {batches_per_epoch} batches, fewer than train.gradient_acc "
            f"(now {settings.gradient_acc}); lower it."
        )
    if settings.pct_start * total <= 1:
        raise ConfigError(
            f"training: {total} steps are too few for a warm-up of {settings.pct_start:.0%} of them; raise train.epochs "
            f"(now {settings.epochs}) or lower train.batch_size (now {settings.batch_size})."
        )
    return total


def make_optimiser(
    tower: nn.Module, head: Head, settings: TrainSettings, total_steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW with two groups and the one-cycle schedule over `total_steps`, each group to its own highest rate.

    The centres' group holds the rates and betas alone: AdamW skips parameters without gradient, and `Head.step` updates
    the centres, so that those not drawn stay as they are.
    """
    lr_centres = settings.lr * settings.lr_pfc_weight
    groups = [
        {"params": [p for p in tower.parameters() if p.requires_grad], "lr": settings.lr},
        {"params": [nn.Parameter(head.centres, requires_grad=True)], "lr": lr_centres},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=[settings.lr, lr_centres], total_steps=total_steps, pct_start=settings.pct_start
    )
    return optimiser, schedule


def steps_of(
    loader: DataLoader, epochs: int, per_epoch: int, gradient_acc: int
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Groups of `gradient_acc` batches, each for one optimiser step; what an epoch has over is dropped."""
    batches = iter(loader)
    for _ in range(epochs):
        epoch = islice(batches, per_epoch)
        while len(group := list(islice(epoch, gradient_acc))) == gradient_acc:
            yield group


def train_mode(tower: nn.Module, batchnorm: str) -> None:
    """Training mode; with `frozen`, batch normalisation keeps its running statistics and uses them."""
    tower.train()
    if batchnorm == "frozen":
        for module in tower.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
