"""Runs every case and writes results/benchmarks.csv."""

from pathlib import Path

import pandas as pd

from benchmarks.cases import rows

if __name__ == "__main__":
    table = pd.DataFrame(rows())
    Path("results").mkdir(exist_ok=True)
    table.to_csv("results/benchmarks.csv", index=False)
    print("\nWritten to results/benchmarks.csv.")
