import os
import signal
import subprocess
import sys
import time

import pytest

from cladeclip.io.atomic import atomic_path


def write_half(path):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


HALF = """
import sys, time
from cladeclip.io.atomic import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    time.sleep(60)
"""


def write_in_another_process(path):
    process = subprocess.Popen([sys.executable, "-c", HALF, str(path)])
    while not any(str(process.pid) in left.name for left in path.parent.glob(".*.partial*")):
        time.sleep(0.02)
    return process


def test_what_a_killed_process_left_is_gone_after_the_next_write(tmp_path):
    path = tmp_path / "file[1].txt"
    process = write_in_another_process(path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [p.name.startswith(".file[1].") for p in tmp_path.iterdir()] == [True]
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["file[1].txt"]


def test_what_a_running_process_or_another_machine_writes_is_left_alone(tmp_path):
    path = tmp_path / "file.txt"
    elsewhere = tmp_path / ".file.another-node-1.partial.txt"
    elsewhere.touch()
    process = write_in_another_process(path)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text("whole")
        assert len(list(tmp_path.glob(".file.*.partial.txt"))) == 2
    finally:
        process.kill()
        process.wait()
