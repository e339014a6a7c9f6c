"""The state of an unfinished training: saved periodically, resumed by the next run, removed at the end.

A folder beside the checkpoint holds, for each process, one safetensors file with the encoder, the optimiser's moments, the
average and this process's centres, and `state.json`, which is written last and says which files belong together: a kill at
any moment leaves either the state before or the new one. All random numbers of a training depend on the seed and the step
alone, so that there is none to save.
"""

import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cladeclip.errors import CladeclipError, first_line
from cladeclip.io.atomic import atomic_path, read_json, write_json
from cladeclip.training.curves import StepReport
from cladeclip.training.processes import SINGLE, Processes

logger = logging.getLogger(__name__)

RECORD = "state.json"


class Resumable(Protocol):
    """What can be saved and restored."""

    step: int

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a step changes."""

    def numbers(self) -> dict[str, Any]:
        """What of the optimiser and the schedule is not a tensor, as JSON can hold it."""

    def restore(self, step: int, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Becomes what `tensors` and `numbers` were taken of, after `step` steps."""


@dataclass
class TrainingState:
    """Where and when the state is saved.

    Attributes:
        folder: of the state; it need not exist.
        belongs_to: what the training is, by name: a state of another one is refused.
        minutes: between two saves.
    """

    folder: Path
    belongs_to: Mapping[str, Any]
    minutes: float
    processes: Processes = SINGLE

    def __post_init__(self) -> None:
        self.belongs_to = json.loads(json.dumps(dict(self.belongs_to)))
        self.saved_at = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self.saved_at >= 60 * self.minutes

    def save(self, training: Resumable, rows: list[StepReport], device: torch.device) -> bool:
        """Saves the state, whole or not at all; False, with a warning, where the disk does not take it."""
        from safetensors.torch import save_file

        fault = ""
        try:
            with atomic_path(self._file(training.step)) as temporary:
                tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in training.tensors().items()}
                save_file(tensors, temporary)
        except Exception as error:  # safetensors has an error class of its own for a full disk
            fault = first_line(error)
        # Only a state that all processes wrote is one.
        failed = self.processes.any(bool(fault), device)
        if not failed and self.processes.rank == 0:
            record = {
                "step": training.step,
                "belongs_to": self.belongs_to,
                "numbers": training.numbers(),
                "rows": [asdict(row) for row in rows],
            }
            try:
                write_json(self.folder / RECORD, record)
            except OSError as error:
                fault = first_line(error)
        failed = self.processes.any(bool(fault), device)
        if failed:
            logger.warning("%s: the training state could not be saved (%s); training goes on.", self.folder, fault)
            self._file(training.step).unlink(missing_ok=True)
        else:
            for old in self.folder.glob(f"*.{self.processes.rank}.safetensors"):
                if old != self._file(training.step):
                    old.unlink(missing_ok=True)
        self.saved_at = time.monotonic()
        return not failed

    def resume(self, training: Resumable, device: torch.device) -> list[StepReport]:
        """Restores a saved state, if there is one, and returns the rows of training.csv up to it.

        If any process cannot read its part, none uses the state.

        Raises:
            CladeclipError: the state is of another training.
        """
        if not (self.folder / RECORD).is_file():
            return []
        record = read_json(self.folder / RECORD)
        before = record["belongs_to"]
        for name in sorted({*before, *self.belongs_to}):
            if before.get(name) != self.belongs_to.get(name):
                raise CladeclipError(
                    f"{self.folder}: this is the state of an unfinished training with {name} "
                    f"{_short(before.get(name))}, now {_short(self.belongs_to.get(name))}. Set it back to go on with that "
                    "training, or delete the folder to begin anew."
                )
        tensors, fault = {}, ""
        try:
            tensors = _read(self._file(record["step"]))
        except Exception as error:
            fault = first_line(error)
        if self.processes.any(bool(fault), device):
            logger.warning("%s: the state cannot be read (%s); training begins anew.", self.folder, fault)
            return []
        training.restore(record["step"], tensors, record["numbers"])
        logger.info("Going on after step %d.", record["step"])
        return [StepReport(**row) for row in record["rows"]]

    def remove(self) -> None:
        if self.processes.rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, step: int) -> Path:
        return self.folder / f"step{step}.{self.processes.rank}.safetensors"


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
