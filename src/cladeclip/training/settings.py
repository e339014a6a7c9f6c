"""The settings of a training, under the names of the published configuration (RECIPE values are config.yaml's)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cladeclip.registry import place_of

# What `train.loss` can be, and where it is (see losses.py).
LOSSES = {"arcface": "cladeclip.training.losses:ArcFace", "cosface": "cladeclip.training.losses:CosFace"}


@dataclass(frozen=True)
class TrainSettings:
    """One field a key of the config's `train:` that changes the weights; see config/config.yaml for each."""

    epochs: int
    batch_size: int
    gradient_acc: int
    lr: float
    lr_pfc_weight: float
    weight_decay: float
    pct_start: float
    loss: str
    margin_loss_s: float
    margin_loss_m1: float
    margin_loss_m2: float
    margin_loss_m3: float
    margin_loss_filter: float
    margin_gradient: str
    num_feat: int
    sample_rate: float
    precision: str
    augment: str
    batchnorm: str
    freeze: str
    ema: float
    compile: bool
    log_every: int

    @classmethod
    def from_config(cls, train: Mapping[str, Any]) -> "TrainSettings":
        return cls(**{field.name: train[field.name] for field in fields(cls)})


def loss_place(name: str, word: str = "loss") -> str:
    """Where the code of a loss is, as `module:name`.

    Raises:
        ConfigError: there is none of this name.
    """
    return place_of(word, name, LOSSES, "cladeclip.losses")
