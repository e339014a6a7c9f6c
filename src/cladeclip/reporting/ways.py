"""Which way to train a student gains, and whether one loses anywhere: on all images that were held out, over all folds.

A way is what students learn from, and whether their weights were interpolated afterwards. Each image's gain is the share of
trained students (seeds, and folds in which it is held out) that named it right, minus that of the same student untrained.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cladeclip.datasets.splits import VALIDATE
from cladeclip.evaluation.held_out import COLUMNS
from cladeclip.evaluation.significance import LEVEL, bootstrap_interval, holm, sign_flip_test
from cladeclip.io.parquet import read_table
from cladeclip.names import (
    ClusterLabels,
    ControlLabels,
    Distillation,
    JointLabels,
    Model,
    ShuffledLabels,
    Split,
    parse_labels,
    teachers_labels,
)
from cladeclip.paths import Results
from cladeclip.plan import labels_on, percents
from cladeclip.reporting.words import describe_labels
from cladeclip.tables import HELD_OUT, IMAGES

# Of the bootstrap.
DRAWS = 2_000


class Asked(NamedTuple):
    """Held-out images of a protocol and part, named at one rank."""

    protocol: str
    part: str
    column: str

    def __str__(self) -> str:
        return f"{PARTS[self.protocol, self.part]}, by {self.column}"


# In the order in which they decide.
PARTS = {
    ("open", "unseen"): "species never seen in training",
    ("holdout", "query"): "new pictures of known species",
    ("open", "query"): "new pictures of known species, with others held out",
}
ALL_ASKED = tuple(Asked(*part, column) for part, column in product(PARTS, COLUMNS))


class Way(NamedTuple):
    """A student, what it learns, and whether its weights were interpolated afterwards."""

    student: str
    labels: str
    interpolated: bool = False


@dataclass(frozen=True)
class Gain:
    """What one gains over another on the same images; fractions.

    Attributes:
        low, high: ends of the 95 % bootstrap interval of the gain, resampling species.
        p_value: of the sign-flip test over species.
    """

    n_images: int
    n_species: int
    before: float
    after: float
    gain: float
    low: float
    high: float
    p_value: float


class HeldOut:
    """The answers of every model of a run to the images that its splits hold out; each table is read once."""

    def __init__(self, results: Results, config: Mapping[str, Any]) -> None:
        self.results, self.config = results, config
        images = read_table(results.table("images"), IMAGES)
        self.species = images.set_index("image_id")["scientific_name"]
        self._right: dict[tuple[str, str], pd.Series] = {}
        self._answers: dict[tuple[Way, str], pd.DataFrame] = {}

    def right(self, split: str, model: str) -> pd.Series:
        """Whether each image was named right, as 0 or 1, by part, column and image_id."""
        if (split, model) not in self._right:
            table = read_table(self.results.evaluation(split, model, "held_out"), HELD_OUT)
            right = (table["answer"] == table["label"]).astype(float)
            self._right[split, model] = right.set_axis(pd.MultiIndex.from_frame(table[["part", "column", "image_id"]]))
        return self._right[split, model]

    def chosen_percent(self, split: str, model: Model, between: Iterable[int]) -> int:
        """How much of what training changed is best on the part `validate` by species: 0, one of `between`, or 100.

        Of equals the lowest. Nothing that the model is tested on takes part.
        """
        candidates, shares = sorted({0, *between, 100}), []
        for percent in candidates:
            right = self.right(split, _name(model, percent))
            part, column = (right.index.get_level_values(level) for level in ("part", "column"))
            shares.append(right[(part == VALIDATE) & (column == "species")].mean())
        return candidates[int(np.argmax(shares))]

    def answers(self, way: Way, asked: Asked) -> pd.DataFrame:
        """By image_id, the shares `before` and `after` training of the answers that are right, over seeds and folds."""
        if (way, asked.protocol) not in self._answers:
            tables = [
                self._on_split(way, split)
                for split in self.config["splits"]
                if Split.parse(split).protocol == asked.protocol and way.labels in labels_on(self.config, split)
            ]
            empty = pd.DataFrame(columns=["part", "column", "image_id", "before", "after"])
            self._answers[way, asked.protocol] = pd.concat(tables) if tables else empty
        table = self._answers[way, asked.protocol]
        table = table[(table["part"] == asked.part) & (table["column"] == asked.column)]
        return table.groupby("image_id")[["before", "after"]].mean()

    def _on_split(self, way: Way, split: str) -> pd.DataFrame:
        after = []
        for seed in self.config["seeds"]["training"]:
            model, percent = Model(way.student, way.labels, seed), 100
            if way.interpolated:
                percent = self.chosen_percent(split, model, percents(self.config))
            after.append(self.right(split, _name(model, percent)))
        before = self.right(split, way.student)
        return pd.DataFrame({"before": before, "after": pd.concat(after, axis=1).mean(axis=1)}).reset_index()

    def gain(self, before: pd.Series, after: pd.Series) -> Gain:
        """Of two shares of right answers to the same images."""
        species = self.species.reindex(before.index).to_numpy(str)
        difference = (after - before).to_numpy()
        low, high = bootstrap_interval(difference, groups=species, draws=DRAWS)
        return Gain(
            n_images=len(before),
            n_species=len(set(species)),
            before=float(before.mean()),
            after=float(after.mean()),
            gain=float(difference.mean()),
            low=low,
            high=high,
            p_value=sign_flip_test(difference, species),
        )


def _name(model: Model, percent: int) -> str:
    return str(Model(model.student, model.labels, model.seed, percent)) if percent else model.student


class Findings:
    """What every way of a run gains, on everything that was held out.

    Attributes:
        gains: by way and by what was asked.
        deciding: what was asked first of ALL_ASKED; None where nothing is held out.
        p_holm: of every way that sees no names, on what decides; corrected for their number.
    """

    def __init__(self, held: HeldOut) -> None:
        self.config = held.config
        self.gains: dict[Way, dict[Asked, Gain]] = {}
        for way, asked in product(ways(self.config), ALL_ASKED):
            answers = held.answers(way, asked)
            if len(answers):
                self.gains.setdefault(way, {})[asked] = held.gain(answers["before"], answers["after"])
        there = {asked for of_way in self.gains.values() for asked in of_way}
        self.deciding = next((asked for asked in ALL_ASKED if asked in there), None)
        candidates = [way for way in self.gains if sees_no_names(way, self.config) and self.deciding in self.gains[way]]
        p_values = [self.gains[way][self.deciding].p_value for way in candidates if self.deciding]
        self.p_holm = dict(zip(candidates, holm(p_values), strict=True))

    def decided(self, way: Way) -> Gain:
        """Its gain on what decides."""
        assert self.deciding is not None
        return self.gains[way][self.deciding]

    def losses(self, way: Way) -> dict[Asked, Gain]:
        """Where it may be worse than no training by more than `report.margin`."""
        margin = self.config["report"]["margin"]
        return {asked: gain for asked, gain in self.gains[way].items() if gain.low < -margin}

    def rows(self) -> list[dict[str, Any]]:
        """A row a way for a table of the page, the highest gain first."""
        decided = {way: of_way[self.deciding].gain for way, of_way in self.gains.items() if self.deciding in of_way}
        return [
            {
                "words": describe_way(way, self.config),
                "control": not sees_no_names(way, self.config),
                "p_holm": self.p_holm.get(way),
                "harms_nothing": not self.losses(way),
                "gains": {str(asked): asdict(gain) for asked, gain in self.gains[way].items()},
            }
            for way in sorted(self.gains, key=lambda way: -decided.get(way, -np.inf))
        ]

    def advice(self) -> str:
        """One sentence: train on clusters, distil, or leave the encoder as it is; empty where nothing is held out."""
        if not self.p_holm or self.deciding is None:
            return ""
        best_first = sorted(self.p_holm, key=lambda way: -self.decided(way).gain)
        gaining = [way for way in best_first if self.decided(way).gain > 0 and self.p_holm[way] < LEVEL]
        harmless = [way for way in gaining if not self.losses(way)]
        asked = PARTS[self.deciding.protocol, self.deciding.part]
        best = (harmless or gaining or best_first)[0]
        gain, words = self.decided(best), describe_way(best, self.config)
        points = f"{100 * gain.gain:.1f} in a hundred ({interval(gain)})"
        if harmless:
            distils = isinstance(teachers_labels(parse_labels(best.labels, self.config["encoders"])), Distillation)
            return (
                f"{'Distil the teacher' if distils else 'Train on clusters'}: {words}, it names {points} more of {asked} "
                "right than before training, and there is nothing that it names worse."
            )
        if gaining:
            worst, loss = min(self.losses(best).items(), key=lambda item: item[1].low)
            return (
                f"Leave the encoder as it is, unless {asked} are all that matters: {words}, it names {points} more of them "
                f"right, but {PARTS[worst.protocol, worst.part]} it may name worse by {worst.column} ({interval(loss)})."
            )
        return (
            f"Leave the encoder as it is: no way to train it without names gains on {asked} beyond what chance may give; "
            f"{words}, the best of {len(best_first)}, it is {100 * gain.gain:+.1f} points from what it was "
            f"({interval(gain)})."
        )


def all_at_once(held: HeldOut, findings: Findings) -> list[str]:
    """A sentence for each set of several numbers of clusters: whether it beats the best of the run's single ones.

    The p-values are corrected for the number of these comparisons.
    """
    if findings.deciding is None:
        return []
    compared: list[tuple[Way, Way, Gain]] = []
    for way in findings.p_holm:
        labels = parse_labels(way.labels, held.config["encoders"])
        if way.interpolated or not isinstance(labels, JointLabels):
            continue
        singles = [
            other
            for other in findings.p_holm
            if other.student == way.student and not other.interpolated
            if isinstance(one := parse_labels(other.labels, held.config["encoders"]), ClusterLabels)
            and (one.teacher, one.features) == (labels.teacher, labels.features)
        ]
        if singles:
            best = max(singles, key=lambda other: findings.decided(other).gain)
            answers = [held.answers(one, findings.deciding)["after"] for one in (best, way)]
            compared.append((way, best, held.gain(*answers)))
    corrected = holm([gain.p_value for _, _, gain in compared])
    return [_beats(way, best, gain, p, held.config) for (way, best, gain), p in zip(compared, corrected, strict=True)]


def _beats(way: Way, best: Way, gain: Gain, p: float, config: Mapping[str, Any]) -> str:
    verdict = "cannot be told apart from" if p >= LEVEL else "beats" if gain.gain > 0 else "is worse than"
    return (
        f"{describe_way(way, config)} {verdict} the best single number, {describe_way(best, config)}: "
        f"{100 * gain.gain:+.1f} points ({interval(gain)})."
    )


def describe_way(way: Way, config: Mapping[str, Any]) -> str:
    taught = f"{way.student} on {describe_labels(parse_labels(way.labels, config['encoders']))}"
    return f"{taught}, interpolated" if way.interpolated else taught


def interval(gain: Gain) -> str:
    return f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f} points"


def ways(config: Mapping[str, Any]) -> Iterator[Way]:
    """Of every student, all {labels}, each also interpolated where the config has shares to interpolate with."""
    names = list(dict.fromkeys(name for split in config["splits"] for name in labels_on(config, split)))
    both = (False, True) if config["train"]["interpolate"] else (False,)
    for student, interpolated, name in product(config["students"], both, names):
        yield Way(student, name, interpolated)


def sees_no_names(way: Way, config: Mapping[str, Any]) -> bool:
    """Whether it learns from a teacher, and is no control."""
    return not isinstance(parse_labels(way.labels, config["encoders"]), ControlLabels | ShuffledLabels)
