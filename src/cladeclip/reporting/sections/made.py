"""What a report was made from and what it cost: versions, checksums of the weights, time and memory of every rule."""

import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

from cladeclip.io.atomic import read_json

# What decides numbers, and what runs the workflow.
PACKAGES = (
    *("torch", "open_clip_torch", "timm", "transformers", "faiss-gpu", "numpy", "scikit-learn"),
    *("pandas", "pyarrow", "pillow", "snakemake"),
)


def versions() -> dict[str, str]:
    """The installed version of each of PACKAGES that is there."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str:
    """The commit of the checkout that `folder` is in, with `+` where files differ from it; empty where there is none."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def weights_of(encoders: Iterable[str], folder: Path) -> list[dict[str, str]]:
    """A row an encoder that has been made: its name, and the sha256 of the file that holds its weights."""
    rows = []
    for encoder in encoders:
        path = folder / encoder / "encoder.json"
        if path.is_file():
            files = read_json(path)["files"]
            rows += [
                {"encoder": encoder, "file": name, "sha256": about["sha256"]}
                for name, about in sorted(files.items())
                if not name.endswith(".json")
            ]
    return rows


def costs(benchmarks: Path) -> pd.DataFrame:
    """Time and memory of the jobs that made what is there, by rule, from the files that Snakemake writes beside each.

    Returns:
        rule, jobs, seconds (the sum), longest (seconds of the longest job), megabytes (the largest resident set of a job;
        NaN where no job lived long enough to be measured).
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        found = pd.read_csv(path, sep="\t", na_values=["-"])
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        rows.append({"rule": rule, "seconds": found["s"].sum(), "megabytes": found["max_rss"].max()})
    table = pd.DataFrame(rows, columns=["rule", "seconds", "megabytes"])
    by_rule = table.groupby("rule").agg(
        jobs=("seconds", "size"), seconds=("seconds", "sum"), longest=("seconds", "max"), megabytes=("megabytes", "max")
    )
    return by_rule.sort_values("seconds", ascending=False).reset_index()
