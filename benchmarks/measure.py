"""Wall time and peak memory of a function, in a process of its own, and of its peer beside it."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Calls of each function; `--small` makes one.
REPEATS = 3

Row = dict[str, Any]


def measure(function: Callable[..., Any], *arguments: Any, repeats: int | None = None) -> tuple[float, float, Any]:
    """Median seconds, the median of the peak memory above the start of the call in MB, and what the last call returned.

    Each call runs in a fresh process that imports what `function`'s module imports before the clock starts; where the
    function has an attribute `prepare`, that makes its arguments from `arguments`, also before the clock starts.
    """
    context = multiprocessing.get_context("spawn")
    seconds, megabytes, result = [], [], None
    for _ in range(min(repeats or REPEATS, REPEATS)):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_timed, args=(sender, function, arguments))
        process.start()
        sender.close()
        try:
            taken, peak, result = receiver.recv()
        except EOFError as error:
            raise RuntimeError(f"{function.__name__} failed; its message stands above.") from error
        finally:
            process.join()
        seconds.append(taken)
        megabytes.append(peak)
    return statistics.median(seconds), statistics.median(megabytes), result


def compare(
    stage: str,
    case: str,
    n: int,
    ours: Callable[..., Any],
    peer_name: str,
    peer: Callable[..., Any],
    *arguments: Any,
    note: str = "",
    repeats: int | None = None,
) -> Row:
    """A row of results/benchmarks.csv: ours and the peer with the same arguments."""
    ours_s, ours_mb, _ = measure(ours, *arguments, repeats=repeats)
    peer_s, peer_mb, _ = measure(peer, *arguments, repeats=repeats)
    return row(stage, case, n, ours_s, ours_mb, peer_name, peer_s, peer_mb, note)


def row(
    stage: str,
    case: str,
    n: int,
    ours_s: float,
    ours_mb: float,
    peer: str = "",
    peer_s: float = float("nan"),
    peer_mb: float = float("nan"),
    note: str = "",
) -> Row:
    return {
        "stage": stage,
        "case": case,
        "n": n,
        "ours_s": round(ours_s, 3),
        "peer": peer,
        "peer_s": round(peer_s, 3),
        "speedup": round(peer_s / ours_s, 2),
        "ours_peak_mb": round(ours_mb, 1),
        "peer_peak_mb": round(peer_mb, 1),
        "note": note,
    }


def _timed(sender: Any, function: Callable[..., Any], arguments: tuple) -> None:
    # A spawned process would spawn its own workers, too; a job of the workflow forks them.
    multiprocessing.set_start_method("fork", force=True)
    prepare = getattr(function, "prepare", None)
    if prepare:
        arguments = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is what is resident now
    before = _resident("VmRSS")
    start = time.perf_counter()
    result = function(*arguments)
    taken = time.perf_counter() - start
    sender.send((taken, max(0, _resident("VmHWM") - before) / 1e6, result))


def _resident(kind: str) -> int:
    """Bytes of memory in use now (VmRSS) or at the most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(kind))
