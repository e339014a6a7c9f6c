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

# By kind of labels, the function that reads their files as `objective.Targets`.
READERS = {
    ClusterLabels: "cladeclip.training.classes:a_class_of_each",
    ControlLabels: "cladeclip.training.classes:a_class_of_each",
    JointLabels: "cladeclip.training.classes:a_class_of_each",
    NearestLabels: "cladeclip.training.classes:nearest_classes",
    Distillation: "cladeclip.training.distillation:teachers_embeddings",
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


def reader_place(labels: Labels) -> str:
    """What reads the files of these labels, as `module:name`; shuffled ones are read before they are shuffled."""
    return READERS[type(teachers_labels(labels) or labels)]


def chosen_places(labels: Labels, loss: str) -> list[str]:
    """What the labels and `train.loss` choose of the training's code."""
    reader = reader_place(labels)
    return [reader] if reader == READERS[Distillation] else [reader, loss_place(loss)]
