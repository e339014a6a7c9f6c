"""Wall time and peak memory of a function, in a process of its own."""

import multiprocessing
import resource
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = 3


def measure(function: Callable[..., Any], *arguments: Any, repeats: int = REPEATS) -> tuple[float, float]:
    """Median seconds, and the median of the peak memory above the start of the call in MB, over `repeats` processes.

    Each call runs in a fresh process that imports what `function`'s module imports before the clock starts.
    """
    context = multiprocessing.get_context("spawn")
    seconds, megabytes = [], []
    for _ in range(repeats):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_timed, args=(sender, function, arguments))
        process.start()
        sender.close()
        taken, peak = receiver.recv()
        process.join()
        seconds.append(taken)
        megabytes.append(peak)
    return statistics.median(seconds), statistics.median(megabytes)


def _timed(sender: Any, function: Callable[..., Any], arguments: tuple) -> None:
    # A spawned process would spawn its own workers, too; a job of the workflow forks them.
    multiprocessing.set_start_method("fork", force=True)
    prepare = getattr(function, "prepare", None)
    if prepare:
        arguments = prepare(*arguments)
    before, stop, peaks = _resident(), threading.Event(), [0]
    watcher = threading.Thread(target=_watch, args=(stop, peaks))
    watcher.start()
    start = time.perf_counter()
    function(*arguments)
    taken = time.perf_counter() - start
    stop.set()
    watcher.join()
    sender.send((taken, max(0, peaks[0] - before) / 1e6))


def _watch(stop: threading.Event, peaks: list[int]) -> None:
    while not stop.wait(0.005):
        peaks[0] = max(peaks[0], _resident())
    peaks[0] = max(peaks[0], _resident())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
