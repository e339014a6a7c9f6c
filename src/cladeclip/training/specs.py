"""The losses of training: what the config knows of them, without torch. A loss is a class; see losses.py."""

from typing import NamedTuple

from cladeclip.registry import place_of


class LossEntry(NamedTuple):
    """Where a loss is, as `module:class`, and the margins that it reads of the config's `train:`."""

    place: str
    margins: tuple[str, ...] = ()


# What `train.loss` can be.
LOSSES = {
    "arcface": LossEntry("cladeclip.training.losses:ArcFace", ("margin_loss_m2",)),
    "cosface": LossEntry("cladeclip.training.losses:CosFace", ("margin_loss_m3",)),
}


def loss_place(name: str, word: str = "loss") -> str:
    """Where the code of a loss is, as `module:name`.

    Raises:
        ConfigError: there is none of this name.
    """
    return place_of(word, name, {ours: entry.place for ours, entry in LOSSES.items()}, "cladeclip.losses")
