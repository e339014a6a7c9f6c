"""What a finished demo must show: `python tests/demo/check_finished_demo.py results/demo`."""

import sys
from pathlib import Path

from cladeclip.atomic import read_json


def main(results: str) -> None:
    summary = read_json(Path(results) / "summary.json")
    assert summary["n_query"] >= 150, summary["n_query"]
    assert set(summary["tests"]) == {"specimen-vit", "specimen-vit.random-k54.seed5"}
    for rival, test in summary["tests"].items():
        assert test["difference"] > 0, rival
        assert test["p_value"] < 0.05, rival
        print(f"{summary['primary_model']} beats {rival}: +{test['difference']:.1%}, p = {test['p_value']:.2g}")


if __name__ == "__main__":
    main(sys.argv[1])
