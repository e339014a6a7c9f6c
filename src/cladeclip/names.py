"""Names in paths: what `{features}`, `{labels}`, `{model}` and `{split}` spell, and how to read them back.

A path says exactly what made the file: `vit-b-32.vit-h-fused-internvl-k500.seed5` is the student `vit-b-32` trained on
500 clusters of the teacher `vit-h`'s fused embeddings with seed 5.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cladeclip.errors import ConfigError

NAME = r"[a-z0-9]+(?:-[a-z0-9]+)*"
FEATURES = rf"image|text-{NAME}|fused-{NAME}"
SPLIT = r"all|holdout-\d+|open-\d+"


@dataclass(frozen=True)
class Split:
    """Who sees which picture when: `all`, or a fold of the protocols `holdout` and `open` (see datasets/splits.py)."""

    protocol: str
    fold: int | None = None

    def __str__(self) -> str:
        return self.protocol if self.fold is None else f"{self.protocol}-{self.fold}"

    @classmethod
    def parse(cls, name: str) -> "Split":
        if not re.fullmatch(SPLIT, name):
            raise ConfigError(f"'{name}' names no split; use all, holdout-NUMBER or open-NUMBER.")
        protocol, _, fold = name.partition("-")
        return cls(protocol, int(fold) if fold else None)

    @property
    def is_holdout(self) -> bool:
        """Whether pictures of known species were kept from all training, and ask."""
        return self.protocol == "holdout"

    @property
    def is_open(self) -> bool:
        """Whether whole species were, too."""
        return self.protocol == "open"


@dataclass(frozen=True)
class Features:
    """What of an image is embedded: its pixels (`image`), its caption (`text`) or both (`fused`)."""

    kind: str
    captioner: str | None

    @classmethod
    def parse(cls, name: str) -> "Features":
        if not re.fullmatch(FEATURES, name):
            raise ConfigError(f"'{name}' names no features; use image, text-CAPTIONER or fused-CAPTIONER.")
        kind, _, captioner = name.partition("-")
        return cls(kind, captioner or None)


@dataclass(frozen=True)
class ClusterLabels:
    """Cluster ids of a teacher's features: `{teacher}-{features}-k{k}`."""

    teacher: str
    features: str
    k: int

    def __str__(self) -> str:
        return f"{self.teacher}-{self.features}-k{self.k}"


@dataclass(frozen=True)
class ControlLabels:
    """Labels that need no teacher: `species`, `genus`, or `random-k{k}` (k is None for the first two)."""

    kind: str
    k: int | None = None

    def __str__(self) -> str:
        return self.kind if self.k is None else f"{self.kind}-k{self.k}"


Labels = ClusterLabels | ControlLabels


def parse_labels(name: str, encoders: Iterable[str]) -> Labels:
    """Reads a `{labels}` name back; `encoders` are the names that a teacher can have.

    Raises:
        ConfigError: the name fits no form, or its teacher is not defined.
    """
    if name in ("species", "genus"):
        return ControlLabels(name)
    if match := re.fullmatch(r"random-k(\d+)", name):
        return ControlLabels("random", int(match[1]))
    # The longest name first: 'vit-h' must not claim the labels of 'vit-h-14'.
    for teacher in sorted(encoders, key=len, reverse=True):
        if match := re.fullmatch(rf"{re.escape(teacher)}-({FEATURES})-k(\d+)", name):
            return ClusterLabels(teacher, match[1], int(match[2]))
    raise ConfigError(
        f"'{name}' names no labels; use TEACHER-FEATURES-kNUMBER with a teacher of `encoders:`, "
        "or species, genus, random-kNUMBER."
    )


@dataclass(frozen=True)
class Model:
    """A trained student: `{student}.{labels}.seed{seed}`."""

    student: str
    labels: str
    seed: int

    def __str__(self) -> str:
        return f"{self.student}.{self.labels}.seed{self.seed}"

    @classmethod
    def parse(cls, name: str) -> "Model | None":
        """The trained student of this name, or None for the name of an encoder that was not trained here."""
        match = re.fullmatch(rf"({NAME})\.({NAME})\.seed(\d+)", name)
        return cls(match[1], match[2], int(match[3])) if match else None
