"""Runs the cases and writes results/benchmarks.csv: python -m benchmarks [--small] [--data FOLDER] [STAGE ...]."""

import argparse
from pathlib import Path

import pandas as pd

from benchmarks import clustering, embedding, evaluation, fetching, loading, measure, training
from cladeclip.run.job_environment import prepare_environment

STAGES = {
    "fetch": fetching.rows,
    "embed": embedding.rows,
    "cluster": clustering.rows,
    "load": loading.rows,
    "train": training.rows,
    "evaluate": evaluation.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; all where none is named")
    parser.add_argument(
        "--small", action="store_true", help="a tenth of the sizes: shows that everything runs, no more"
    )
    parser.add_argument("--data", type=Path, help="pictures in VLM4Bio's layout, for the cases on real pictures")
    arguments = parser.parse_args()
    prepare_environment("src")  # as every job of the workflow
    if arguments.small:
        measure.REPEATS = 1
    for stage in arguments.stages:
        if stage not in STAGES:
            parser.error(f"there is no stage '{stage}'; known are {', '.join(STAGES)}")
    if arguments.data is None:
        print("No --data: the cases on real pictures are left out.")
    table: list[dict] = []
    for stage in arguments.stages or STAGES:
        for row in STAGES[stage](arguments.small, arguments.data):
            table.append(row)
            print(pd.DataFrame([row]).to_string(index=False, header=len(table) == 1), flush=True)
    Path("results").mkdir(exist_ok=True)
    pd.DataFrame(table).to_csv("results/benchmarks.csv", index=False)
    print("\nWritten to results/benchmarks.csv.")


if __name__ == "__main__":
    main()
