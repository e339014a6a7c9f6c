"""How many processor cores a job has, and how many processes that feed a GPU they are enough for."""

import os

import torch
from joblib import cpu_count

AUTO = "auto"


def cores() -> int:
    """The cores that this process may use: of its affinity, its container's quota, and what Slurm has given it."""
    given = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or ""
    return min(cpu_count(), int(given)) if given.isdigit() else cpu_count()


def workers_for(setting: int | str, *, threads: int) -> int:
    """The number of workers for each GPU (without one: of the job) that a config's `workers` means.

    Args:
        setting: a number; or `auto`: all cores, shared among the GPUs that are seen, and without a GPU `threads`.
        threads: the cores that the job asked for.
    """
    if setting != AUTO:
        return int(setting)
    gpus = torch.cuda.device_count()
    return max(1, cores() // gpus) if gpus else threads
