"""kill -9 at random moments, then the same command: `make torture` does it 30 times, in 25 minutes.

CI runs it three times, in test_faults.py, on a disk that is full now and then.
"""

import os
import random
import shutil
import signal
import subprocess
import time

from checkout import Checkout

from cladeclip.io.atomic import read_json, sha256_of_file

KILLS = int(os.environ.get("CLADECLIP_KILLS", "30"))
SEED = int(os.environ.get("CLADECLIP_SEED", "5"))


def kill_again_and_again(checkout, kills, seed, expected, within):
    """Starts the run and kills it with everything that it started, at a random moment of the `within` seconds that it takes.

    When it is done before, it has the expected bytes and begins from nothing, until so many kills hit it: at all stages.
    """
    draw, killed = random.Random(seed), 0
    while killed < kills:
        process = checkout.start()
        try:
            process.wait(timeout=draw.uniform(0.1, 0.6) * within)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            assert process.returncode == 0
            assert bytes_of(checkout.results) == expected
            shutil.rmtree(checkout.results)
            continue
        killed += 1
        if not any((checkout.folder / ".snakemake" / "locks").glob("*.lock")):
            continue  # It was hit before it began, or after it had ended.
        # A second command while the first one's lock is there refuses, and says what to do.
        code, output = checkout.snakemake()
        assert code != 0
        assert "--unlock" in output
        checkout.run("--unlock")


def bytes_of(results):
    """The manifest, after a look whether it is true."""
    manifest = read_json(results / "manifest.json")
    assert {name: sha256_of_file(results / name) for name in manifest} == manifest
    assert not [path for path in results.rglob("*") if ".partial" in path.name]
    return manifest


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(checkout, tmp_path):
    killed, expected = Checkout(tmp_path), bytes_of(checkout.results)
    start = time.monotonic()
    killed.run()
    within = time.monotonic() - start
    shutil.rmtree(killed.results)
    kill_again_and_again(killed, KILLS, SEED, expected, within)
    killed.run()
    assert killed.plan() == {}
    assert bytes_of(killed.results) == expected
