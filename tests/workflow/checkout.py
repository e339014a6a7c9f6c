"""Snakemake as a user runs it: in a folder of its own, with a copy of the workflow."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import REPOSITORY

TINY = Path(__file__).with_name("tiny.yaml")
# The student that it trains on its clusters.
MODEL = "tiny-clip.tiny-clip-fused-template-k4.seed5"
# Seconds that any command of these tests may take: ten times what the longest takes on two cores.
AT_MOST = 1200


class Checkout:
    """A copy of the workflow in an empty folder, run with one config where none is named."""

    SNAKEMAKE = (Path(sys.executable).with_name("snakemake"),)

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

    def command(self, *arguments, config=None, cores=2):
        return [*self.SNAKEMAKE, *arguments, "--cores", str(cores), "--configfile", config or self.config]

    def start(self, *arguments, **options):
        """Snakemake in the background, silent, with everything that it starts in a process group of its own."""
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = self.command(*arguments, **options)
        return subprocess.Popen(command, cwd=self.folder, start_new_session=True, **silent)

    def snakemake(self, *arguments, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        command = self.command(*arguments, **options)
        with subprocess.Popen(command, cwd=self.folder, text=True, **pipes) as process:
            try:
                output, _ = process.communicate(timeout=AT_MOST)
            except subprocess.TimeoutExpired:
                process.kill()
                # What hangs fails, and shows how far it came.
                raise AssertionError(f"Not done after {AT_MOST} s:\n{process.communicate()[0]}") from None
        return process.returncode, output

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
