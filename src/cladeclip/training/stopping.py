"""What a training is asked from outside while it runs: to save its state, or to save it and stop."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cladeclip.errors import CladeclipError

STOP = (signal.SIGTERM, signal.SIGINT)
SAVE = (signal.SIGUSR1,)
NOTHING, TO_SAVE, TO_STOP = 0, 1, 2


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


def leave_signals_to_the_parent(worker: int = 0) -> None:
    """Makes a loader's worker process ignore them: Slurm and a terminal send them to every process of a job.

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
