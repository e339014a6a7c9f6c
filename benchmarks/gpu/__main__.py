"""Tries the GPU of this machine and writes results/gpu.json and docs/gpu.md's table: python -m benchmarks.gpu [--small].

Without a GPU the same is done on the CPU, which shows that the command works; docs/gpu.md stays as it is.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.gpu import rates, same
from benchmarks.gpu.setting import Finding, Setting, findings
from cladeclip.devices import choose_device
from cladeclip.run.job_environment import READ_AT_START, prepare_environment

TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)
# Those of which every test takes the device that CLADECLIP_DEVICE names.
TESTS = [
    "tests/clustering/test_kmeans.py",
    "tests/evaluation",
    "tests/hierarchy",
    "tests/training/test_rand_augment.py",
    "tests/training/test_options.py",
]
QUICK_TESTS = ["tests/training/test_rand_augment.py", "tests/clustering/test_kmeans.py"]


def tests(setting: Setting) -> Iterator[Finding]:
    """The tests that take a device, on this one."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--durations=0", "--durations-min=60"]
    if not setting.small:
        command += ["-n", str(min(8, setting.cores))]
    environment = os.environ | {"CLADECLIP_DEVICE": str(setting.device), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [*command, *(QUICK_TESTS if setting.small else TESTS)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = done.stdout
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    passed = sum(map(int, re.findall(r"(\d+) passed", said))) or said.count(".")
    (setting.folder.parent / "gpu-tests.txt").write_text(said)
    note = f"failed: {', '.join(failed)}" if failed else "" if done.returncode == 0 else said.strip()[-200:]
    yield Finding("tests that take a device", passed, "passed", wanted="all", holds=done.returncode == 0, note=note)


def whole_run(setting: Setting) -> Iterator[Finding]:
    """The tests' tiny run through Snakemake, in a folder of its own; a second one has nothing to do."""
    plain = [str(Path(sys.executable).with_name("snakemake"))]
    program = [sys.executable, str(Path("workflow/warm_snakemake.py").resolve())] if setting.small else plain
    folder = setting.folder / "run"
    folder.mkdir()
    where = ["--snakefile", str(Path("Snakefile").resolve()), "--directory", str(folder)]
    config = ["--configfile", str(Path("tests/workflow/tiny.yaml").resolve())]
    command = [*program, "--cores", str(min(8, setting.cores)), *where, *config]
    said = []
    for _ in range(2):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said.append(done.stdout)
        if done.returncode:
            break
    (setting.folder.parent / "gpu-run.txt").write_text("\n".join(said))
    holds = len(said) == 2 and "Nothing to be done" in said[1] and (folder / "results/tiny/report.html").is_file()
    last = said[-1].strip().splitlines()[-1:] or [""]
    note = "" if holds else f"{last[0]}; results/gpu-run.txt has all"
    yield Finding("a tiny run through Snakemake", wanted="a report, then nothing to do", holds=holds, note=note)


def in_words(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.6g}" if 0.9 < value < 1.1 else f"{value:.3g}"


def as_table(found: list[Finding]) -> str:
    lines = ["| what | found | limit | share | wanted | holds | note |", "|---|---|---|---|---|---|---|"]
    for one in found:
        holds = {True: "yes", False: "**no**", None: ""}[one.holds]
        value = f"{in_words(one.value)} {one.unit}".strip()
        share = "" if one.share is None else f"{one.share:.2f}"
        lines.append(
            f"| {one.what} | {value} | {in_words(one.limit)} | {share} | {one.wanted} | {holds} | {one.note} |"
        )
    return "\n".join(lines) + "\n"


def machine(device: torch.device, cores: int) -> dict[str, str | int]:
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    return {
        "card": card,
        "cores": cores,
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--small", action="store_true", help="tiny networks and few pictures: shows that everything runs"
    )
    arguments = parser.parse_args()
    if not all(os.environ.get(name) for name in READ_AT_START):
        prepare_environment(Path("src").resolve())  # what libraries read when they are loaded needs a new start
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:]])
    prepare_environment(Path("src").resolve())
    device = choose_device()
    if device.type == "cpu" and not arguments.small:
        print("torch sees no GPU here; --small shows on the CPU that the command works.")
        return 1
    start = time.monotonic()
    results = Path("results")
    results.mkdir(exist_ok=True)
    found: list[Finding] = []
    with tempfile.TemporaryDirectory(dir=results) as folder:
        setting = Setting(device, arguments.small, Path(folder).resolve())
        about = machine(device, setting.cores)
        for check in [*rates.RATES, *same.CHECKS, tests, whole_run]:
            for one in findings(check, setting):
                found.append(one)
                print(f"{one.seconds:6.1f} s  {as_table([one]).splitlines()[-1]}", flush=True)
                # What is found stays found, whatever comes after.
                _write(results / "gpu.json", about, found, start)

        def experiment(setting: Setting) -> Iterator[Finding]:
            return rates.experiment(setting, found)

        found += findings(experiment, setting)
    _write(results / "gpu.json", about, found, start)
    heading = (
        ", ".join(f"{name} {value}" for name, value in about.items()) + f"; {time.monotonic() - start:.0f} s in all."
    )
    table = f"{heading}\n\n{as_table(found)}\n"
    (results / "gpu.md").write_text(table)
    print(table)
    page = Path("docs/gpu.md")
    if setting.judged:
        page.write_text(TABLE.sub(lambda _: table, page.read_text()))
    wrong = [one.what for one in found if one.holds is False]
    print(f"{len(wrong)} of {len(found)} do not hold: {'; '.join(wrong)}" if wrong else "Everything holds.")
    return 1 if wrong else 0


def _write(path: Path, about: dict, found: list[Finding], start: float) -> None:
    rows = [one.as_row() for one in found]
    path.write_text(json.dumps(about | {"seconds": round(time.monotonic() - start), "findings": rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
