"""What a job of the workflow writes while it runs goes to its log file; what the user must read goes to the terminal too."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cladeclip.errors import CladeclipError, sentence_of_machine_fault


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Sends standard error (that of C++ libraries as well) to `path` for the duration of the block.

    An error that the user can mend (a `CladeclipError`, a full or read-only disk, too little memory) ends the job with its
    one sentence on the terminal; any other with its last line and the path of the log, which holds the traceback.
    """
    path = Path(path)
    terminal = os.dup(2)
    python_stderr = sys.stderr
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", buffering=1) as log:
            os.dup2(log.fileno(), 2)
            sys.stderr = log
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=log, force=True)
            # Libraries that narrate at INFO would drown our own lines.
            for chatty in ("httpx", "httpx2", "urllib3", "root"):
                logging.getLogger(chatty).setLevel(logging.WARNING)
            logging.getLogger("cladeclip").setLevel(logging.INFO)
            try:
                yield
            except Exception as error:
                # A full disk takes no log either; its own fault must not hide the job's.
                with suppress(OSError):
                    if isinstance(error, CladeclipError):
                        log.write(f"Error: {error}\n")
                    else:
                        traceback.print_exc(file=log)
                raise
    except Exception as error:
        sentence = str(error) if isinstance(error, CladeclipError) else sentence_of_machine_fault(error)
        unexpected = f"{type(error).__name__}: {error}\nThe log {path} has the details."
        os.write(terminal, f"\n{f'Error: {sentence}' if sentence else unexpected}\n\n".encode())
        raise SystemExit(1) from None
    finally:
        sys.stderr = python_stderr
        os.dup2(terminal, 2)
        os.close(terminal)
