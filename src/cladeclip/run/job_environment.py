"""The environment variables that every job of the workflow starts with."""

import os
from pathlib import Path

from cladeclip.encoders.open_clip_library import IN_JOB

# OpenMP's threads busy-wait for each other; where another process needs the core, as beside a second job, that made torch
# four times slower. Here they give the core up after some microseconds, which costs a job alone nothing.
WAIT_BRIEFLY = {"GOMP_SPINCOUNT": "10000"}
# glibc gives blocks above 32 MB back to the system each time, and the activations of a network are such blocks: a quarter
# of a CPU job went into mapping the same memory again. One arena, since each would keep its own freed memory.
KEEP_FREED_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
}

# The variable that keeps jobs off the internet, and the user's own value of it.
OFFLINE, OFFLINE_BY_USER = "HF_HUB_OFFLINE", "CLADECLIP_HUB_OFFLINE"

# What the libraries read when they are loaded.
READ_AT_START = WAIT_BRIEFLY | KEEP_FREED_MEMORY


def prepare_environment(source: str | Path) -> None:
    """Lets jobs find the package below `source`, keeps them off the internet, and lets them share the cores and
    keep freed memory.

    The first matters in environments where the package is not installed (`--sdm conda`). Compute nodes have no internet:
    what must be downloaded is downloaded by the fetch rules, which lift the second (`allow_downloads`). IN_JOB tells
    encoders that they are in a job of the workflow.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    # Jobs come here as well, with what the main process has set.
    os.environ.setdefault(OFFLINE_BY_USER, os.environ.get(OFFLINE, "0"))
    os.environ.setdefault(OFFLINE, "1")
    os.environ[IN_JOB] = "1"
    for name, value in READ_AT_START.items():
        os.environ.setdefault(name, value)


def allow_downloads() -> None:
    """Lets this job download, unless the user said HF_HUB_OFFLINE=1."""
    os.environ[OFFLINE] = os.environ.get(OFFLINE_BY_USER, "0")
