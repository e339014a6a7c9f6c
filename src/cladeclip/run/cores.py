"""The number of processor cores of a job, and of loader workers for each GPU."""

import os

import torch
from joblib import cpu_count

AUTO = "auto"


def cores() -> int:
    """The number of cores that this process may use: the least of its affinity, container quota and Slurm allocation."""
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
