"""Snakemake on one machine, where every job is a fork of Snakemake's process, which has imported the libraries of all jobs.

    python workflow/warm_snakemake.py OPTIONS OF SNAKEMAKE

A job of the demo works for one to twenty seconds, and would import for two to four first. What it computes and writes is the
same (`tests/workflow/test_workflow.py` compares the bytes with plain Snakemake's), and killing Snakemake kills its jobs as
before; the measured memory includes what all share. For many short jobs on one machine: on a cluster, or with software
environments, jobs are started as usual.
"""

import atexit
import importlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import nullcontext, suppress
from pathlib import Path

# None of this package: the copy of the workflow that is run has its own. None of them computes when it is imported.
LIBRARIES = (
    "altair",
    "captum.attr",
    "faiss",
    "jinja2",
    "jsonschema",
    "open_clip",
    "pandas",
    "psutil",
    "pyarrow.parquet",
    "safetensors.torch",
    "scipy.optimize",
    "scipy.sparse",
    "scipy.stats",
    "sklearn.covariance",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "sklearn.manifold",
    "sklearn.metrics",
    "snakemake.benchmark",
    "snakemake.cli",
    "snakemake.script",
    "tensorboardX",
    "threadpoolctl",
    "timm.data",
    "torch._dynamo",
    "torch.distributed.launcher.api",
    "torch.utils.data",
    "transformers",
    "vl_convert",
)


def import_libraries() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):  # the job that needs it says so
            importlib.import_module(name)


def run(*arguments: str) -> None:
    """Snakemake with these arguments; it ends with SystemExit."""
    from snakemake.cli import main
    from snakemake.script import PythonScript

    plain = PythonScript.execute_script

    def execute_script(script, fname, edit=False):
        if script.conda_env or script.container_img or script.env_modules or edit:
            plain(script, fname, edit)
        else:
            run_as_fork(script, fname)

    PythonScript.execute_script = execute_script
    sys.argv = ["snakemake", *arguments]
    main(list(arguments))


def run_as_fork(script, fname):
    """Runs the script in a child of this process; Snakemake measures it as it measures a program."""
    from snakemake.benchmark import benchmarked

    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        leave(run_script(fname, script.threads))
    with benchmarked(process, script.bench_record) if script.bench_record is not None else nullcontext():
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
    return status_of(runpy.run_path, path, run_name="__main__")


def status_of(function, *arguments, **options) -> int:
    """The exit status of an interpreter that calls the function; what it raises is printed."""
    try:
        function(*arguments, **options)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def leave(status: int) -> None:
    """Ends a fork as an interpreter ends: threads and exit handlers first."""
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    from cladeclip.run.job_environment import READ_AT_START

    # The C library reads some of these when a process starts: as a job has them, this one must, too.
    if not READ_AT_START.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], READ_AT_START | dict(os.environ))
    import_libraries()
    run(*sys.argv[1:])


if __name__ == "__main__":
    main()
