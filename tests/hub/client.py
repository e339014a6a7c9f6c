"""Clients of the stand-in, in processes of their own: they read at their start where the hub is and whether to go there."""

import json
import os
import subprocess
import sys


def environment(hub, home, offline="0"):
    """What a user has set whose hub is the stand-in, and whose cache lies in `home`."""
    return os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": offline}


def start(hub, home, code, *arguments, offline="0"):
    """Python code, in the background and in a session of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(hub, home, offline), start_new_session=True, **pipes)


def call(hub, home, code, *arguments, offline="0", at_most=300):
    """The JSON that Python code prints last, and what it logged."""
    process = start(hub, home, code, *arguments, offline=offline)
    said, log = process.communicate(timeout=at_most)
    assert process.returncode == 0, log
    return json.loads(said.splitlines()[-1]), log
