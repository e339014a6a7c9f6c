"""Snakemake that starts warm, and notes which functions of the package each job's script calls."""

import os
import sys
import threading
from pathlib import Path

import warm_snakemake

# In the folder that the command is started in: a line a call that was the first, with script, file and line.
CALLED = ".called.tsv"


def run(*arguments):
    plain = warm_snakemake.run_script

    def run_traced(path, threads):
        trace(Path(path).name.split(".", 1)[1], Path(CALLED).absolute())
        return plain(path, threads)

    warm_snakemake.run_script = run_traced
    warm_snakemake.run(*arguments)


def trace(script, called):
    seen = set()

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code not in seen:
            seen.add(code)
            if f"{os.sep}cladeclip{os.sep}" in code.co_filename and code.co_flags & 2:  # a function, not a class's body
                with called.open("a") as file:
                    file.write(f"{script}\t{code.co_filename}\t{code.co_firstlineno}\n")

    sys.setprofile(note)
    threading.setprofile(note)
