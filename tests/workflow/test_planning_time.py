"""How long `snakemake -n` takes, beside a bare workflow of as many jobs planned by the same Snakemake."""

import re
import subprocess
import sys
import time
from pathlib import Path

import yaml
from checkout import Checkout

BARE = """
rule all:
    input:
        expand("{{number}}.txt", number=range({jobs})),

rule one:
    output:
        "{{number}}.txt",
    shell:
        "touch {{output}}"
"""


def planned(folder, *arguments):
    """(seconds, number of jobs) of the plan."""
    start = time.monotonic()
    command = [Path(sys.executable).with_name("snakemake"), "-n", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    seconds = time.monotonic() - start
    return seconds, int(re.search(r"^total\s+(\d+)$", done.stdout + done.stderr, re.MULTILINE)[1])


def compared(checkout, *arguments, times):
    """(number of jobs, seconds, seconds of bare Snakemake), turn by turn, the least of each: what else runs hits both."""
    bare, turns = checkout.folder.with_name("bare"), []
    bare.mkdir()
    for _ in range(times):
        ours, jobs = planned(checkout.folder, *arguments)
        (bare / "Snakefile").write_text(BARE.format(jobs=jobs - 1))
        theirs, as_many = planned(bare)
        assert as_many == jobs
        turns.append((ours, theirs))
    ours, theirs = (min(seconds) for seconds in zip(*turns, strict=True))
    print(f"{jobs} jobs: {ours:.2f} s, bare Snakemake {theirs:.2f} s")
    return jobs, ours, theirs


def test_the_default_config_is_planned_in_less_than_three_times_what_snakemake_itself_needs(tmp_path):
    _, ours, theirs = compared(Checkout(tmp_path / "ours"), times=3)
    assert ours <= 3 * theirs
    # Three seconds, where bare Snakemake takes one and a half; where it takes longer, the machine is the slower one.
    assert ours <= 3 * max(1, theirs / 1.5)


def test_a_sweep_of_thousands_of_jobs_is_planned_in_twenty_seconds(tmp_path):
    checkout = Checkout(tmp_path / "ours")
    config = yaml.safe_load((checkout.folder / "config" / "config.yaml").read_text())
    config["labels"] |= {"k": list(range(100, 2100, 100)), "features": ["image", "text-internvl", "fused-internvl"]}
    config |= {
        "seeds": config["seeds"] | {"training": [1, 2, 3, 4, 5]},
        "students": ["vit-b-32", "openclip-b-32", "bioclip"],
        "splits": ["holdout-0"],
    }
    path = checkout.folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(config))
    jobs, ours, theirs = compared(checkout, "--configfile", path, times=1)
    assert jobs > 900 * 3  # each training is embedded and evaluated
    # Twenty seconds, where bare Snakemake takes four.
    assert ours <= max(20, 5 * theirs)
