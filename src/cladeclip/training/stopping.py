"""Signals to a running training: to save its state, or to save it and stop."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from cladeclip.errors import CladeclipError
from cladeclip.training.processes import Processes

STOP = (signal.SIGTERM, signal.SIGINT)
SAVE = (signal.SIGUSR1,)
NOTHING, TO_SAVE, TO_STOP = 0, 1, 2
# Between two checks by several processes whether to save or stop; torchrun gives them 30 seconds to end.
ASK_SECONDS = 5.0


class TrainingInterrupted(CladeclipError):
    """The training was asked to stop; the message says where its state is."""


class Requests:
    """What has been asked for since the last look: NOTHING, TO_SAVE or TO_STOP."""

    def __init__(self) -> None:
        self.asked = NOTHING

    def take(self) -> int:
        """What was asked for; a request to stop stays."""
        asked = self.asked
        if asked == TO_SAVE:
            self.asked = NOTHING
        return asked

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals. Nothing is done here: a step is finished before its state is saved."""
        self.asked = max(self.asked, TO_SAVE if number in SAVE else TO_STOP)


@contextmanager
def listening() -> Iterator[Requests]:
    """SIGTERM and SIGINT ask to stop, SIGUSR1 to save, until the block ends; ignored outside the main thread."""
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.signal(number, requests.receive) for number in (*STOP, *SAVE)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Agreement:
    """Makes the processes of a training act alike: a signal to one is obeyed by all."""

    def __init__(self, requests: Requests, processes: Processes, device: torch.device, step: int) -> None:
        self.requests, self.processes, self.device = requests, processes, device
        self._asked_at, self._asked_step, self._next = time.monotonic(), step, step + 1

    def after(self, step: int, due: bool) -> int:
        """NOTHING, TO_SAVE (also where that is `due`) or TO_STOP; several processes ask each other every ASK_SECONDS."""
        if self.processes.count > 1 and step < self._next:
            return NOTHING
        asked = TO_SAVE if due and self.requests.asked == NOTHING else self.requests.take()
        if self.processes.count == 1:
            return asked
        # All ask again at the same step: the slowest says when.
        seconds = (time.monotonic() - self._asked_at) / (step - self._asked_step)
        said = self.processes.max(torch.tensor([float(asked), seconds], device=self.device)).tolist()
        self._next = step + max(1, int(ASK_SECONDS / max(said[1], 1e-3)))
        self._asked_at, self._asked_step = time.monotonic(), step
        return int(said[0])


def leave_signals_to_the_parent(worker: int = 0) -> None:
    """Makes a loader's worker process ignore these signals: Slurm and a terminal send them to every process of a job.

    The workers are needed until the state is saved; they end with their parent, which calls `end_workers` when it ends.
    """
    for number in (*STOP, *SAVE):
        signal.signal(number, signal.SIG_IGN)


def end_workers() -> None:
    """Kills the loader's workers that are left when this process ends, as after an error.

    Python's own end asks them to stop by SIGTERM, which they ignore, and would wait for them for ever.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would say that a worker was killed, after the error itself
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
