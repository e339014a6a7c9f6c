"""Starts a training: in this process, or with torchrun as one process a GPU."""

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cladeclip.devices import choose_device
from cladeclip.errors import CladeclipError, ConfigError, DataError, TableError
from cladeclip.io.atomic import write_json
from cladeclip.training import job as job_module
from cladeclip.training.job import TrainingJob, run_job
from cladeclip.training.stopping import TrainingInterrupted

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

# Errors whose text is a sentence for the user.
MENDABLE = {one.__name__ for one in (CladeclipError, ConfigError, DataError, TableError, TrainingInterrupted)}

logger = logging.getLogger(__name__)


def launch(job: TrainingJob, gpus: int) -> None:
    """Runs the job on `gpus` GPUs: in this process for 0 or 1, else in one process per GPU.

    Where there is no GPU, as many processes run on the CPU: slower than one, but the same mathematics.

    Raises:
        ConfigError: there are GPUs, but fewer.
        CladeclipError: a process failed; the message is that of the one that failed first.
        TrainingInterrupted: the training was asked to stop; its state is saved.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus > 0 and not found:
        logger.warning("train.gpus is %d, but no GPU was found: training on the CPU.", gpus)
    if gpus > found > 0:
        raise ConfigError(f"config: train.gpus is {gpus}, but {found} are visible here; lower it, or ask for more.")
    if gpus <= 1:
        run_job(job, choose_device())
    else:
        run_with_torchrun(job, gpus)


def run_with_torchrun(job: TrainingJob, count: int) -> None:
    """What `torchrun --standalone --nproc-per-node COUNT` does, without its command line: on this machine, any free port."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="cladeclip-") as folder:
        path = Path(folder, "job.json")
        write_json(path, asdict(job))
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            with _threads_for_each_process(max(1, job.threads // count)):
                elastic_launch(config, sys.executable)("-m", job_module.__name__, str(path))
        except SignalException as signal:
            state = job.state_folder
            kept = f"its state is in {state}" if state.is_dir() else "it had no state to save yet"
            raise TrainingInterrupted(
                f"training: stopped by {signal.sigval.name}; {kept}. The same command goes on."
            ) from None
        except ChildFailedError as failed:
            raise CladeclipError(first_cause(failed)) from None


@contextmanager
def _threads_for_each_process(threads: int) -> Iterator[None]:
    """Sets OMP_NUM_THREADS, which torchrun's processes inherit, and restores it afterwards, since `nproc` obeys it, too."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


def first_cause(failed: "ChildFailedError") -> str:
    """The message of the process that failed first; the others only lost their peer."""
    failures = failed.failures
    killed = [rank for rank, one in failures.items() if one.exitcode < 0 and one.signal_name() != "SIGTERM"]
    if killed:
        return (
            f"training: process {min(killed)} was killed by {failures[min(killed)].signal_name()} (out of memory?); the "
            "others were stopped. The same command goes on from the last saved state."
        )
    messages = {rank: _message(one.message) for rank, one in failures.items()}
    # A process that lost its peers says so in gloo's or nccl's words.
    lonely = [rank for rank, message in messages.items() if "gloo" in message or "NCCL" in message]
    rank = min(set(messages) - set(lonely) or messages)
    name, _, sentence = messages[rank].partition(": ")
    if name in MENDABLE:
        return sentence
    return f"training: process {rank} failed with {messages[rank]}; the log has the details."


def _message(message: object) -> str:
    """torch's error files hold the error as text, or as a mapping with the text inside."""
    return str(message["message"] if isinstance(message, dict) else message)
