"""Where the time of the demo goes: imports, making models, work, Snakemake. `make demo-time` runs the demo anew for it.

Every Python process is started with PYTHONPROFILEIMPORTTIME, with which the interpreter writes the time of each import to
standard error, and so to the jobs' logs and to the terminal. What Snakemake's own process imports is known from a plan.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import measure
from cladeclip.encoders.load import load_encoder
from cladeclip.reporting.sections.made import costs

RESULTS = Path("results/demo")
# "import time:       167 |        167 |   zipimport": microseconds of the module itself, and with what it imports.
IMPORT = re.compile(r"^import time:\s+(\d+) \|", re.MULTILINE)
# Rules whose jobs make an encoder.
WITH_MODEL = ("train", "embed", "saliency")


def seconds_of_imports(text: str) -> float:
    """The sum of all imports that a process, or several, wrote about."""
    return sum(int(microseconds) for microseconds in IMPORT.findall(text)) / 1e6


def make_model(folder: Path) -> None:
    """What a job does before it can embed or train; the model stays in the process that measures it."""
    load_encoder(folder)


def main() -> None:
    cores = 2
    for folder in (RESULTS, Path("data/demo")):
        shutil.rmtree(folder, ignore_errors=True)
    profiled = {"env": {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}, "capture_output": True, "text": True}
    command = [Path(sys.executable).with_name("snakemake"), "--cores", str(cores), "--configfile", "config/demo.yaml"]
    snakemake = seconds_of_imports(subprocess.run([*command, "-n"], **profiled, check=True).stderr)
    start = time.monotonic()
    done = subprocess.run(command, **profiled)
    wall = time.monotonic() - start
    if done.returncode:
        sys.exit("\n".join(line for line in done.stderr.splitlines() if not IMPORT.match(line)))
    rules = costs(RESULTS / "benchmarks")
    logs = "\n".join(path.read_text(errors="replace") for path in (RESULTS / "logs").rglob("*.log"))
    models = rules.loc[rules["rule"].isin(WITH_MODEL), "jobs"].sum()
    made = measure.measure(make_model, Path("weights/specimen-vit"))[0] * models
    in_jobs = seconds_of_imports(logs) + seconds_of_imports(done.stderr) - snakemake
    total = rules["seconds"].sum()
    print(f"{wall:.0f} s on {cores} cores; {rules['jobs'].sum()} jobs that took {total:.0f} s:\n")
    print(rules.round(1).to_string(index=False))
    print(f"\nOf the {cores * wall:.0f} s that {cores} cores had:")
    parts = {
        "work": total - in_jobs - made,
        "imports of the jobs": in_jobs,
        f"making a model, {models} times": made,
        "Snakemake's own imports": snakemake,
        "Snakemake, starting processes, and cores with nothing to do": cores * wall - total - snakemake,
    }
    for part, seconds in parts.items():
        print(f"  {seconds:6.1f} s  {seconds / (cores * wall):4.0%}  {part}")


if __name__ == "__main__":
    main()
