"""Snakemake as a user runs it: in a folder of its own, with a copy of the workflow."""

import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import yaml
from conftest import REPOSITORY, warm

TINY = Path(__file__).with_name("tiny.yaml")
# The student that it trains on its clusters.
MODEL = "tiny-clip.tiny-clip-fused-template-k4.seed5"
# Seconds that any command of these tests may take: ten times what the longest takes on two cores.
AT_MOST = 1200


# The program that users start.
PLAIN = (Path(sys.executable).with_name("snakemake"),)


class Cold(subprocess.Popen):
    """A program in a session of its own, with what it said."""

    def __init__(self, command, folder, output, environment=None):
        self.output = output
        with output.open("w") as file:
            super().__init__(
                command, cwd=folder, start_new_session=True, stdout=file, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def said(self):
        return self.output.read_text(errors="replace")


class Checkout:
    """A copy of the workflow in an empty folder, run with one config where none is named."""

    # The program that runs it; None is Snakemake that starts warm (warm_snakemake.py).
    SNAKEMAKE = None
    # What Snakemake that starts warm runs.
    WARM = "warm_snakemake:run"
    # What it is started with, where that is another environment than that of the tests; not for Snakemake that starts warm.
    ENVIRONMENT = None
    OUTPUTS = count()

    def __init__(self, folder, config=TINY):
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "rules", "workflow", "src", "config", "envs", "profiles"):
            source, target = REPOSITORY / name, folder / name
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignore)
            else:
                shutil.copy(source, target)
        self.results = folder / "results" / "tiny"

    def start(self, *arguments, config=None, cores=2):
        """Snakemake in the background, with everything that it starts in a session of its own."""
        arguments = [*arguments, "--cores", str(cores), "--configfile", str(config or self.config)]
        output = self.folder / f".said-{next(self.OUTPUTS)}"
        if self.SNAKEMAKE is None:
            return warm().start(self.WARM, list(map(str, arguments)), output, self.folder)
        return Cold([*self.SNAKEMAKE, *arguments], self.folder, output, self.ENVIRONMENT)

    def snakemake(self, *arguments, **options):
        process = self.start(*arguments, **options)
        try:
            process.wait(timeout=AT_MOST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            # What hangs fails, and shows how far it came.
            raise AssertionError(f"Not done after {AT_MOST} s:\n{process.said}") from None
        return process.returncode, process.said

    def run(self, *arguments, **options):
        code, output = self.snakemake(*arguments, **options)
        assert code == 0, output
        return output

    def plan(self, *arguments, **options):
        """The jobs that would run, as {rule: count}."""
        output = self.run("-n", *arguments, **options)
        if "Nothing to be done" in output:
            return {}
        table = re.search(r"^job\s+count\n-+\s+-+\n((?:\S+\s+\d+\n)+)", output, re.MULTILINE)
        assert table, output
        jobs = {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}
        return {name: count for name, count in jobs.items() if name not in ("total", "all")}

    def with_config(self, **overrides):
        path = self.folder / "changed.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(self.config.read_text()) | overrides))
        return path
