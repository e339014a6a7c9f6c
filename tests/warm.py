"""Processes that start warm: forks of one that has imported the libraries of all jobs, and computed nothing.

A training or a job of the workflow that works for a second imports for two to four, and the tests start hundreds. Each is a
process of its own, in a session of its own, that is killed like any other.
"""

import importlib
import json
import os
import selectors
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
from warm_snakemake import import_libraries, leave, status_of


class Started:
    """A process that was started warm, with what Popen says of one."""

    def __init__(self, output: Path) -> None:
        self.output, self.pid, self.returncode = output, 0, None
        self.told, self.ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.output), timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        self.wait(timeout)
        return None, self.said

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    @property
    def said(self) -> str:
        """What it wrote to standard output and standard error."""
        return self.output.read_text(errors="replace")


class Warm:
    """The client of the process that is forked."""

    def __init__(self) -> None:
        from cladeclip.run.job_environment import READ_AT_START  # here, and not in the process that is forked

        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, __file__], env=READ_AT_START | dict(os.environ), **pipes)
        self.started: dict[int, Started] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, target: str, arguments: list, output: Path, folder: Path | str = ".") -> Started:
        """Runs `target` (MODULE:FUNCTION) on the arguments."""
        started = Started(Path(output))
        number = len(self.started)
        self.started[number] = started
        request = {"number": number, "target": target, "arguments": arguments, "output": str(output)}
        request |= {"folder": str(Path(folder).absolute()), "environment": dict(os.environ), "path": sys.path}
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        assert started.told.wait(120), "the warm process does not answer"
        return started

    def _listen(self) -> None:
        for line in self.server.stdout:
            answer = json.loads(line)
            started = self.started[answer["number"]]
            if "status" in answer:
                started.returncode = answer["status"]
                started.ended.set()
            else:
                started.pid = answer["pid"]
                started.told.set()


def run_here(request: dict) -> int:
    """What the fork does."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[:] = request["path"]
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    module, _, function = request["target"].partition(":")
    return status_of(lambda: getattr(importlib.import_module(module), function)(*request["arguments"]))


def serve() -> None:
    import_libraries()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    running: dict[int, int] = {}
    waiting = b""
    while True:
        if selector.select(0.01):
            data = os.read(0, 1 << 20)
            if not data:
                return
            waiting += data
            *lines, waiting = waiting.split(b"\n")
            for line in lines:
                request = json.loads(line)
                ready, in_its_session = os.pipe()
                process = os.fork()
                if process == 0:
                    os.setsid()
                    os.close(in_its_session)
                    os.close(ready)
                    answers.close()
                    leave(run_here(request))
                os.close(in_its_session)
                os.read(ready, 1)  # until the child closes it: its group can be signalled
                os.close(ready)
                running[process] = request["number"]
                answers.write(json.dumps({"number": request["number"], "pid": process}) + "\n")
        while running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                break
            answer = {"number": running.pop(process), "status": os.waitstatus_to_exitcode(status)}
            answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve()
