"""The learning-rate range test (Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017).

The rate rises exponentially from step to step: where the loss falls, the rate is useful; where it explodes, it is too high.
"""

import logging
import math
from dataclasses import replace

import pandas as pd
import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from cladeclip.config.sections import Train
from cladeclip.datasets.store import PictureStore
from cladeclip.devices import choose_device
from cladeclip.encoders.encoder import Encoder
from cladeclip.errors import ConfigError
from cladeclip.run.progress import progress
from cladeclip.training.loop import Training, check_feasible, picture_groups
from cladeclip.training.objective import Targets

logger = logging.getLogger(__name__)

SMOOTHING = 0.9
# A smoothed loss this many times its lowest value has exploded.
EXPLODED = 2.0


def lr_range(
    encoder: Encoder,
    store: PictureStore,
    targets: Targets,
    settings: Train,
    *,
    seed: int,
    workers: int,
    lowest: float,
    highest: float,
    steps: int,
    device: str = "auto",
) -> pd.DataFrame:
    """Trains `encoder` (and leaves it spoilt) while the encoder's rate rises from `lowest` to `highest`.

    Returns:
        Columns step, lr_encoder, lr_centres, loss, smoothed_loss, a row a step. It ends early where the loss explodes.

    Raises:
        ConfigError: `lowest` is not below `highest`.
    """
    if not lowest < highest:
        raise ConfigError(f"config: train.lr_range.lowest is {lowest}; allowed is less than highest ({highest}).")
    # As many epochs as the steps need, whatever the training's own number.
    an_epoch = max(1, len(targets.rows) // settings.batch_size // settings.gradient_acc)
    settings = replace(settings, head_epochs=0, epochs=math.ceil(steps / an_epoch))
    check_feasible(len(targets.rows), settings)

    def rising(optimiser: torch.optim.Optimizer) -> LRScheduler:
        return LambdaLR(optimiser, lambda step: lowest / settings.lr * (highest / lowest) ** (step / max(1, steps - 1)))

    training = Training(encoder, targets, settings, rising, seed=seed, device=choose_device(device))
    groups = picture_groups(encoder, store, targets, settings, training, workers=workers)
    rows: list[dict[str, float]] = []
    average, best = 0.0, math.inf
    for group in progress(groups, total=steps, desc="range test", unit="steps"):
        report = training.take_step(group, epoch=training.step // an_epoch + 1).report()
        average = SMOOTHING * average + (1 - SMOOTHING) * report.loss
        smoothed = average / (1 - SMOOTHING**report.step)
        if not math.isfinite(smoothed) or smoothed > EXPLODED * best:
            logger.info("The loss exploded at a learning rate of %g.", report.lr_encoder)
            break
        best = min(best, smoothed)
        rows.append(
            {
                "step": report.step,
                "lr_encoder": report.lr_encoder,
                "lr_centres": report.lr_centres,
                "loss": report.loss,
                "smoothed_loss": smoothed,
            }
        )
        if training.step == steps:
            break
    return pd.DataFrame(rows, columns=["step", "lr_encoder", "lr_centres", "loss", "smoothed_loss"])
