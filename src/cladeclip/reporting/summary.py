"""Prints what a finished run found, and where its report lies: `python -m cladeclip.reporting.summary results/demo`."""

import sys
from pathlib import Path

from cladeclip.io.atomic import read_json


def main(results: str) -> None:
    folder = Path(results)
    summary = read_json(folder / "summary.json")
    for sentence in filter(None, [summary["advice"], *summary["headline"], *summary["sentences"]]):
        print(sentence)
    print(f"Table:  {folder / 'comparison.csv'}")
    print(f"Report: {folder / 'report.html'}")


if __name__ == "__main__":
    main(sys.argv[1])
