"""Distillation: the student learns the teacher's embeddings themselves, without classes.

Of a batch of students' embeddings z and teacher's embeddings t (of the pictures as they are, not augmented), with a learned
linear map A and a temperature T:

    loss = a mean_i ( 1 - cos(A z_i, t_i) ) + b mean_i KL( p_i || q_i )

p_i and q_i are the softmax over the batch's other images j of cos(t_i, t_j) / T and of cos(z_i, z_j) / T: the first term
brings each embedding to its place, the second keeps the neighbourhoods. The map is thrown away after training. Sources:
relational distillation (Park et al., CVPR 2019), softmax of similarities (Fang et al., "SEED", ICLR 2021).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from cladeclip.config.sections import Train
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table
from cladeclip.tables import SPLIT
from cladeclip.torch_streams import torch_stream
from cladeclip.training.objective import Targets
from cladeclip.training.optimisation import adamw_step
from cladeclip.training.processes import SINGLE, Processes

# Below any cosine by its temperature, and finite, so that 0 times it is 0.
NOT_ITSELF = -1e9


class Distillation:
    """The map A (teacher's dimension, student's) with the state of its optimiser. See `objective.Objective`.

    Every process has all of it; each computes the loss of its own rows.
    """

    def __init__(self, teacher_dim: int, dim: int, settings: Train, seed: int, processes: Processes = SINGLE) -> None:
        self.settings, self.processes = settings, processes
        self.map = torch.randn(teacher_dim, dim, generator=torch_stream(seed, "map")) / dim**0.5
        self.first_moment, self.second_moment = torch.zeros_like(self.map), torch.zeros_like(self.map)

    def to(self, device: torch.device) -> "Distillation":
        self.map, self.first_moment, self.second_moment = (tensor.to(device) for tensor in self.tensors().values())
        return self

    def begin(self, targets: Sequence[Tensor], step: int) -> "DistillationTurn":
        return DistillationTurn(self, targets)

    def tensors(self) -> dict[str, Tensor]:
        return {"map": self.map, "first_moment": self.first_moment, "second_moment": self.second_moment}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        device = self.map.device
        self.map, self.first_moment, self.second_moment = (tensors[name].to(device) for name in self.tensors())


class DistillationTurn:
    """The map in one optimiser step, collecting the gradients of its batches."""

    positive_share = float("nan")

    def __init__(self, distillation: Distillation, targets: Sequence[Tensor]) -> None:
        self.distillation, self.targets = distillation, targets
        self.map = distillation.map.detach().requires_grad_()

    def loss(self, number: int, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        settings, processes = self.distillation.settings, self.distillation.processes
        targets = functional.normalize(self.targets[number].to(embeddings.device, non_blocking=True))
        units, size = functional.normalize(embeddings), len(embeddings)
        own, own_targets = processes.own(units), processes.own(targets)
        cosines = (functional.normalize(processes.own(embeddings) @ self.map.T) * own_targets).sum(1)
        first = size // processes.count * processes.rank
        itself = torch.arange(first, first + len(own), device=units.device)[:, None]

        def logarithms(rows: Tensor, all_rows: Tensor) -> Tensor:
            scores = (rows @ all_rows.T) / settings.distil_temperature
            return functional.log_softmax(scores.scatter(1, itself, NOT_ITSELF), dim=1)

        apart = functional.kl_div(
            logarithms(own, units), logarithms(own_targets, targets), reduction="sum", log_target=True
        )
        part = settings.distil_cosine * (1 - cosines).sum() + settings.distil_relations * apart
        return processes.total(part / size), processes.sum(cosines.detach().sum()) / size

    def update(self, *, step: int, lr: float, betas: tuple[float, float]) -> None:
        distillation = self.distillation
        if self.map.grad is None:
            raise ValueError("DistillationTurn.update: no gradient has reached the map; call backward() first.")
        adamw_step(
            tuple(distillation.tensors().values()),
            distillation.processes.sum(self.map.grad),
            step=step,
            lr=lr,
            betas=betas,
            weight_decay=distillation.settings.weight_decay,
        )


def teachers_embeddings(files: Sequence[str]) -> Targets:
    """The targets from a teacher's embeddings table and the `split` table whose fit images are learned."""
    embeddings, split = files
    table = read_table(split, SPLIT)
    ids = list(table.loc[table["part"] == "fit", "image_id"])
    rows = rows_for(embeddings, ids)
    return Targets(ids, rows, partial(Distillation, rows.shape[1]))
