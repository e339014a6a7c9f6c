"""What students learn from, and by which losses: what config and plan know of it, without torch."""

from typing import NamedTuple

from cladeclip.names import (
    ClusterLabels,
    ControlLabels,
    Distillation,
    JointLabels,
    Labels,
    NearestLabels,
    teachers_labels,
)
from cladeclip.registry import place_of


class Reader(NamedTuple):
    """What reads the files of labels as `objective.Targets`, as `module:function`, and whether `train.loss` is theirs."""

    place: str
    of_classes: bool


A_CLASS_OF_EACH = Reader("cladeclip.training.classes:a_class_of_each", of_classes=True)
# By kind of labels.
READERS = {
    ClusterLabels: A_CLASS_OF_EACH,
    ControlLabels: A_CLASS_OF_EACH,
    JointLabels: A_CLASS_OF_EACH,
    NearestLabels: Reader("cladeclip.training.classes:nearest_classes", of_classes=True),
    Distillation: Reader("cladeclip.training.distillation:teachers_embeddings", of_classes=False),
}


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


def reader_of(labels: Labels) -> Reader:
    """Of these labels; shuffled ones are read before they are shuffled."""
    return READERS[type(teachers_labels(labels) or labels)]


def chosen_places(labels: Labels, loss: str) -> list[str]:
    """What the labels and `train.loss` choose of the training's code."""
    reader = reader_of(labels)
    return [reader.place, loss_place(loss)] if reader.of_classes else [reader.place]
