"""The processes of one training, one per GPU (torchrun's convention), and their collective operations.

With a single process nothing is sent, and the same code runs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

# A process that has died is noticed at once; this is for one that hangs.
TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Processes:
    """This process among those of the training: number `rank` of `count`."""

    rank: int = 0
    count: int = 1

    def gather(self, rows: Tensor) -> Tensor:
        """The rows (n, ...) of all processes, (count * n, ...) in the order of rank; n is the same in each."""
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def own(self, rows: Tensor) -> Tensor:
        """This process's rows of what `gather` gave."""
        return rows.chunk(self.count)[self.rank]

    def sum(self, values: Tensor) -> Tensor:
        """The elementwise sum over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(values, dist.ReduceOp.SUM)
        return values

    def total(self, part: Tensor) -> Tensor:
        """The sum over all processes, of which the gradient is that of this process's part: what a Loss returns."""
        return self.sum(part.detach().clone()) + (part - part.detach())

    def max(self, values: Tensor) -> Tensor:
        """The elementwise maximum over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def any(self, one: bool, device: torch.device) -> bool:
        """Whether `one` is true in any process, so that all act alike."""
        return bool(self.max(torch.tensor(float(one), device=device)))

    def share_of(self, n: int) -> range:
        """The consecutive part of 0..n-1 that is this process's: n // count, and one more for the first n mod count."""
        share, over = divmod(n, self.count)
        first = self.rank * share + min(self.rank, over)
        return range(first, first + share + (self.rank < over))


SINGLE = Processes()


@contextmanager
def process_group(device: torch.device) -> Iterator[Processes]:
    """Joins the processes that torchrun's environment variables announce: nccl on GPUs, gloo on CPUs."""
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_device() -> torch.device:
    """This process's own GPU, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
