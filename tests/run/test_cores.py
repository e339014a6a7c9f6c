import os
import subprocess
import sys

import pytest
import torch

from cladeclip.run.cores import cores, workers_for

ASK = [sys.executable, "-c", "from cladeclip.run.cores import cores; print(cores())"]


def cores_with(**environment):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return int(subprocess.run(ASK, env=plain | environment, capture_output=True, text=True, check=True).stdout)


def test_a_process_that_is_bound_to_one_core_has_one():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores_with() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"])
def test_slurm_gives_less_than_the_node_has(name):
    assert cores_with(**{name: "1"}) == 1
    assert cores_with(**{name: "100000"}) == cores_with()
    assert cores_with(SLURM_CPUS_PER_TASK="1", SLURM_CPUS_ON_NODE="100000") == 1


@pytest.mark.parametrize("gpus", [1, 2, 1000])
def test_all_cores_are_shared_among_the_gpus(monkeypatch, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert workers_for("auto", threads=3) == max(1, cores() // gpus)
    assert workers_for(0, threads=3) == 0


def test_without_a_gpu_a_job_uses_the_cores_that_it_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert workers_for("auto", threads=3) == 3
    assert workers_for(7, threads=3) == 7
