"""What a student is trained for: parameters beside the encoder's, a loss of embeddings, and an update of the parameters.

The loop knows nothing else of it: `head.Heads` learns classes, `distillation.Distillation` a teacher's embeddings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cladeclip.config.sections import Train
from cladeclip.registry import at
from cladeclip.training.processes import Processes


class Turn(Protocol):
    """An objective in one optimiser step.

    Attributes:
        positive_share: share of the class centres in use whose classes are in the batch; NaN without classes.
    """

    positive_share: float

    def loss(self, number: int, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of the step's batch `number` and the mean cosine to the targets, both the same in every process.

        Args:
            embeddings: (b, D) float32, those of all processes. Their gradient is this process's contribution: summed over
                the processes, it is that of the loss.
        """
        ...

    def update(self, *, step: int, lr: float, betas: tuple[float, float]) -> None:
        """One AdamW step of the objective's parameters; `step` is the training's, from 1."""
        ...


class Objective(Protocol):
    """Its parameters and their moments are on the device that `to` was given."""

    def to(self, device: torch.device) -> "Objective": ...

    def begin(self, targets: Sequence[Tensor], step: int) -> Turn:
        """An optimiser step: of each of its batches the targets (b, ...) of all processes, on the CPU.

        Nothing that a GPU does is waited for. Random numbers depend on the seed, the step and the rank alone.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a step changes, by name."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class Targets:
    """What a student learns of its images.

    Attributes:
        image_ids: of the n images.
        rows: (n, ...), one an image: int64 classes, or float32 embeddings.
        objective: makes the objective of an encoder's dimension, the settings, the seed and the processes.
    """

    image_ids: list[str]
    rows: np.ndarray
    objective: Callable[[int, Train, int, Processes], Objective]

    def shuffled(self, seed: int) -> "Targets":
        """The same rows, dealt to the images at random."""
        order = np.random.default_rng(seed).permutation(len(self.rows))
        return Targets(self.image_ids, self.rows[order], self.objective)


def targets_of(reader: str, files: Sequence[str], shuffled: int | None) -> Targets:
    """What `reader` (`module:name`) makes of the files, dealt to other images by the seed `shuffled` unless it is None."""
    targets: Targets = at(reader)(files)
    return targets if shuffled is None else targets.shuffled(shuffled)
