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
# A trained student; and one between it and what it was before, with so many percent of what training changed.
TRAINED = rf"{NAME}\.{NAME}\.seed\d+(?:\.alpha[1-9]\d?)?"
MODEL = rf"{NAME}|{TRAINED}"


@dataclass(frozen=True)
class Split:
    """Which pictures are fitted or tested on: `all`, or a fold of `holdout` or `open` (see datasets/splits.py)."""

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
        """Whether held-out pictures of known species are the queries."""
        return self.protocol == "holdout"

    @property
    def is_open(self) -> bool:
        """Whether whole species are held out."""
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

    @property
    def clusters(self) -> "tuple[ClusterLabels, ...]":
        """The clusters that these labels are made of; every kind of labels has some or none."""
        return (self,)


@dataclass(frozen=True)
class ControlLabels:
    """Labels that need no teacher: `species`, `genus`, or `random-k{k}` (k is None for the first two)."""

    kind: str
    k: int | None = None

    def __str__(self) -> str:
        return self.kind if self.k is None else f"{self.kind}-k{self.k}"

    @property
    def clusters(self) -> tuple[ClusterLabels, ...]:
        return ()


@dataclass(frozen=True)
class JointLabels:
    """Cluster ids of several numbers of clusters, for one student: `{teacher}-{features}-k100-500-2000`."""

    teacher: str
    features: str
    ks: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.teacher}-{self.features}-k{'-'.join(map(str, self.ks))}"

    @property
    def k(self) -> int:
        return max(self.ks)

    @property
    def clusters(self) -> tuple[ClusterLabels, ...]:
        return tuple(ClusterLabels(self.teacher, self.features, k) for k in self.ks)


@dataclass(frozen=True)
class NearestLabels:
    """The ids of each image's nearest clusters: `{teacher}-{features}-k2000-top10`."""

    teacher: str
    features: str
    k: int
    top: int

    def __str__(self) -> str:
        return f"{self.teacher}-{self.features}-k{self.k}-top{self.top}"

    @property
    def clusters(self) -> tuple[ClusterLabels, ...]:
        return (ClusterLabels(self.teacher, self.features, self.k),)


@dataclass(frozen=True)
class Distillation:
    """No classes: the teacher's features themselves, `distil-{teacher}-{features}`."""

    teacher: str
    features: str
    k: None = None

    def __str__(self) -> str:
        return f"distil-{self.teacher}-{self.features}"

    @property
    def clusters(self) -> tuple[ClusterLabels, ...]:
        return ()


OfTeacher = ClusterLabels | JointLabels | NearestLabels | Distillation


@dataclass(frozen=True)
class ShuffledLabels:
    """A teacher's labels, dealt to the images at random: `shuffled-{labels}`. A control: as many of each, no meaning."""

    labels: OfTeacher

    def __str__(self) -> str:
        return f"shuffled-{self.labels}"

    @property
    def k(self) -> int | None:
        return self.labels.k

    @property
    def clusters(self) -> tuple[ClusterLabels, ...]:
        return self.labels.clusters


Labels = OfTeacher | ControlLabels | ShuffledLabels


def teachers_labels(labels: Labels) -> OfTeacher | None:
    """The teacher's labels that these are, or are shuffled from; None for those that need no teacher."""
    if isinstance(labels, ShuffledLabels):
        return labels.labels
    return None if isinstance(labels, ControlLabels) else labels


def parse_labels(name: str, encoders: Iterable[str]) -> Labels:
    """Parses a `{labels}` name; `encoders` are the possible teachers.

    Raises:
        ConfigError: the name fits no form, or its teacher is not defined.
    """
    if name in ("species", "genus"):
        return ControlLabels(name)
    if match := re.fullmatch(r"random-k(\d+)", name):
        return ControlLabels("random", int(match[1]))
    teachers = sorted(encoders, key=len, reverse=True)
    if labels := _of_teacher(name, teachers):
        return labels
    if name.startswith("shuffled-") and (labels := _of_teacher(name.removeprefix("shuffled-"), teachers)):
        return ShuffledLabels(labels)
    raise ConfigError(
        f"'{name}' names no labels; use TEACHER-FEATURES-kNUMBER, -kNUMBER-NUMBER or -kNUMBER-topNUMBER, or "
        "distil-TEACHER-FEATURES, with a teacher of `encoders:`; any of these after shuffled-; or species, genus, "
        "random-kNUMBER."
    )


def _of_teacher(name: str, teachers: Iterable[str]) -> OfTeacher | None:
    # The longest name first: 'vit-h' must not claim the labels of 'vit-h-14'.
    for teacher in teachers:
        if match := re.fullmatch(rf"{re.escape(teacher)}-({FEATURES})-k(\d+(?:-\d+)*)(?:-top(\d+))?", name):
            features, ks, top = match[1], tuple(map(int, match[2].split("-"))), match[3]
            if len(ks) == 1:
                of_one = ClusterLabels(teacher, features, ks[0])
                return NearestLabels(teacher, features, ks[0], int(top)) if top else of_one
            if top is None:
                return JointLabels(teacher, features, ks)
        if match := re.fullmatch(rf"distil-{re.escape(teacher)}-({FEATURES})", name):
            return Distillation(teacher, match[1])
    return None


@dataclass(frozen=True)
class Model:
    """A trained student: `{student}.{labels}.seed{seed}`, and one between it and the untrained: `....alpha{percent}`.

    Attributes:
        percent: of what training changed in the weights; 100 is the trained student itself.
    """

    student: str
    labels: str
    seed: int
    percent: int = 100

    def __str__(self) -> str:
        return f"{self.student}.{self.labels}.seed{self.seed}" + self._share

    @property
    def replicas(self) -> str:
        """What all seeds have in common."""
        return f"{self.student}.{self.labels}{self._share}"

    @property
    def _share(self) -> str:
        return f".alpha{self.percent}" if self.percent < 100 else ""

    @classmethod
    def parse(cls, name: str) -> "Model | None":
        """The trained student of this name, or None for the name of an encoder that was not trained here."""
        if not re.fullmatch(TRAINED, name):
            return None
        student, labels, seed, *percent = name.split(".")
        return cls(
            student, labels, int(seed.removeprefix("seed")), *(int(one.removeprefix("alpha")) for one in percent)
        )
