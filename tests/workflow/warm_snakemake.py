"""Snakemake whose Python scripts are forks of its own process, which has their libraries imported (see tests/warm.py).

What a job computes, writes and is measured by is the same: `test_workflow.py` compares the bytes with those of plain
Snakemake. Killing it kills its jobs as before.
"""

import os
import runpy
import signal
import subprocess
import sys
import traceback
from contextlib import nullcontext

from warm import leave


def run(*arguments: str) -> int:
    """Snakemake with these arguments; returns its exit status."""
    from snakemake.cli import main
    from snakemake.script import PythonScript

    PythonScript.execute_script = run_as_fork
    sys.argv = ["snakemake", *arguments]
    main(list(arguments))
    return 0


def run_as_fork(self, fname, edit=False):
    """In place of PythonScript.execute_script: the script runs in a child of this process."""
    from snakemake.benchmark import benchmarked

    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        leave(run_script(fname, self.threads))
    with benchmarked(process, self.bench_record) if self.bench_record is not None else nullcontext():
        _, status = os.waitpid(process, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(code, fname)


def run_script(path, threads):
    """What a new interpreter does with the script; returns the exit status."""
    import torch
    from threadpoolctl import threadpool_limits

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    threadpool_limits(threads)
    torch.set_num_threads(threads)
    sys.argv = [path]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
