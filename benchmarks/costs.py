"""What a finished run cost, and what it would cost with more pictures: python -m benchmarks.costs results/mini

Time and memory are what Snakemake measured of each job; disk is that of the files. For more pictures both are computed, in
proportion to the pictures, of the rules whose work is a matter of pictures one by one. Numbers of clusters, species and
trainings stay those of the run, and so does the machine.
"""

import argparse
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from cladeclip.reporting.sections.made import costs

# Rules that take so much a picture. The others' time is mostly that of starting; `make bench` measures them at size.
OF_EACH_PICTURE = {"prepare", "store", "caption", "embed", "embed_text", "cluster", "train"}
# Where the files of a rule lie.
FOLDERS = {
    "store": ("store",),
    "embed": ("embeddings", "*/embeddings", "cache"),
    "cluster": ("*/clusters",),
    "train": ("*/checkpoints",),
    "evaluate": ("*/evaluation",),
}
# What a checkpoint takes does not depend on the pictures.
SAME_SIZE = {"train"}
SIZES = (31_452, 10_000_000)


def bytes_below(results: Path, patterns: tuple[str, ...]) -> int:
    return sum(
        path.stat().st_size
        for pattern in patterns
        for folder in results.glob(pattern)
        for path in folder.rglob("*")
        if path.is_file()
    )


def table(results: Path) -> pd.DataFrame:
    """A row a rule: jobs, hours, memory and disk as measured, and hours and disk computed for each of SIZES."""
    n = pq.read_metadata(results / "images.parquet").num_rows
    rules = costs(results / "benchmarks")
    found = pd.DataFrame(
        {
            "rule": rules["rule"],
            "jobs": rules["jobs"],
            "s": rules["seconds"].round(0),
            "MB": rules["megabytes"].round(0),
        }
    )
    disk = rules["rule"].map(lambda rule: bytes_below(results, FOLDERS.get(rule, ())) / 1e9)
    found["disk GB"] = disk.round(3)
    grows = rules["rule"].isin(OF_EACH_PICTURE)
    for size in SIZES:
        found[f"h at {size:,}"] = (rules["seconds"] * size / n / 3600).round(1).where(grows)
        larger = rules["rule"].map(lambda rule, size=size: 1 if rule in SAME_SIZE else size / n)
        found[f"GB at {size:,}"] = (disk * larger).round(1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("results", type=Path, help="results folder of a finished run")
    print(table(parser.parse_args().results).to_markdown(index=False))


if __name__ == "__main__":
    main()
