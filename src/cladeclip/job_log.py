"""What a job of the workflow writes while it runs goes to its log file; what the user must read goes to the terminal too."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cladeclip.errors import CladeclipError


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Sends standard error (that of C++ libraries as well) to `path` for the duration of the block.

    An error that the user can mend ends the job with its one sentence on the terminal; any other with its last line and
    the path of the log, which holds the traceback.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.dup(2)
    with open(path, "w", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), 2)
        python_stderr, sys.stderr = sys.stderr, log
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=log, force=True)
        # Libraries that narrate at INFO would drown our own lines.
        for chatty in ("httpx", "urllib3", "root"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        logging.getLogger("cladeclip").setLevel(logging.INFO)
        try:
            yield
        except CladeclipError as error:
            log.write(f"Error: {error}\n")
            os.write(terminal, f"\nError: {error}\n\n".encode())
            raise SystemExit(1) from None
        except Exception as error:
            traceback.print_exc(file=log)
            os.write(terminal, f"\n{type(error).__name__}: {error}\nThe log {path} has the details.\n\n".encode())
            raise SystemExit(1) from None
        finally:
            sys.stderr = python_stderr
            os.dup2(terminal, 2)
            os.close(terminal)
