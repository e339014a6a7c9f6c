"""Training curves: the rows of training.csv, and event files for TensorBoard."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class StepReport:
    """The metrics of one optimiser step, a row of training.csv; identical in two equal runs.

    Attributes:
        target_cosine: mean cosine of the embeddings to the centres of their own classes.
        positive_share: share of the centres in use that are those of a class in the batch.
    """

    step: int
    epoch: int
    loss: float
    target_cosine: float
    positive_share: float
    lr_encoder: float
    lr_centres: float


COLUMNS = tuple(StepReport.__dataclass_fields__)


class Curves:
    """Collects the reports of every `every`-th step and of the last one.

    Args:
        first: the next step, where a training is resumed.
        rows: the reports before that.
        events: the folder of the event files; None writes none.
        pictures: seen by a step, for the pictures a second that the event files show beside the reports.
    """

    def __init__(
        self,
        every: int,
        total: int,
        pictures: int,
        *,
        first: int = 1,
        rows: list[StepReport] | None = None,
        events: Path | None = None,
    ) -> None:
        self.every, self.total, self.pictures, self.rows = every, total, pictures, list(rows or [])
        self.writer = None
        if events is not None:
            from tensorboardX import SummaryWriter

            done = self.rows[-1].step + 1 if self.rows else 0
            self.writer = SummaryWriter(str(events), purge_step=done)
        self.since, self.last = time.perf_counter(), first - 1

    def has(self, step: int) -> bool:
        """Whether a step is reported."""
        return (step - 1) % self.every == 0 or step == self.total

    def add(self, report: StepReport) -> None:
        self.rows.append(report)
        if self.writer is not None:
            now = time.perf_counter()
            seen = (report.step - self.last) * self.pictures
            shown = asdict(report) | {"pictures_per_second": seen / (now - self.since)}
            for name, value in shown.items():
                if name != "step":
                    self.writer.add_scalar(f"train/{name}", value, report.step)
            self.since, self.last = now, report.step

    def table(self) -> pd.DataFrame:
        """The table of training.csv."""
        return pd.DataFrame([asdict(row) for row in self.rows], columns=list(COLUMNS))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
