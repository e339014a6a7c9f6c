"""What a run says on the terminal: a line a job, and all of what failed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from checkout import TINY, Checkout
from conftest import REPOSITORY

LINE = re.compile(r"^\d+:\d\d:\d\d +(\d+) of (\d+)  (.+)$", re.MULTILINE)


def test_a_line_a_job_with_its_number_and_what_it_does(tmp_path):
    checkout = Checkout(tmp_path)
    said = checkout.run("results/tiny/holdout-0/split.parquet", config=TINY)
    lines = LINE.findall(said)
    assert [int(number) for number, _, _ in lines] == list(range(1, len(lines) + 1))
    assert {total for _, total, _ in lines} == {str(len(lines))}
    assert lines[-1][2] == "Splitting the images: holdout-0."
    assert len(said.splitlines()) < len(lines) + 10
    for chatter in ("Select jobs", "Finished job", "% done", "Reason:"):
        assert chatter not in said


def test_what_fails_is_shown_with_its_log_and_a_plan_as_snakemake_shows_it(tmp_path):
    checkout = Checkout(tmp_path)
    labels = {"teachers": ["handmade"], "features": ["image"], "k": [500], "controls": []}
    config = checkout.with_config(labels=labels, report={"primary": {"k": 500, "split": "holdout-0"}})
    target = "results/tiny/holdout-0/clusters/handmade-image-k500.parquet"
    planned = checkout.run("-n", target, config=config)
    assert "Reason: Missing output files" in planned
    code, said = checkout.snakemake(target, config=config)
    assert code != 0
    assert re.search(r"^Logfile .*k500\.log:\n=+\nError: k-means: k is 500", said, re.MULTILINE)


def test_a_path_with_a_space_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "a b").mkdir()
    environment = tmp_path / "a b" / "environment"
    environment.symlink_to(Path(sys.executable).parents[1])
    checkout = Checkout(tmp_path / "a b" / "clone")
    checkout.SNAKEMAKE = (environment / "bin" / "python", "-m", "snakemake")
    code, said = checkout.snakemake("-n")
    assert code != 0
    assert "jobs cannot be started by a Python whose path has a space; move the folder to a path without" in said
    assert "Traceback" not in said
    checkout.SNAKEMAKE = None
    assert checkout.plan("results/tiny/images.parquet")["prepare"] == 1
    shutil.copy(REPOSITORY / "Makefile", checkout.folder)
    made = subprocess.run(["make", "help"], cwd=checkout.folder, capture_output=True, text=True)
    assert made.returncode != 0
    assert "programs cannot be started from a path with a space; move the folder" in made.stderr
