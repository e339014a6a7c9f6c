"""The ways to train of a finished `make ways`, as tables for docs/study.md: python -m benchmarks.ways NAME [CONFIG ...]"""

import sys
from itertools import combinations
from typing import Any

from cladeclip.config.check import complete
from cladeclip.config.files import merged
from cladeclip.io.atomic import read_json
from cladeclip.plan import Files
from cladeclip.reporting.ways import ALL_ASKED, Gain, HeldOut, describe_way, ways


def points(gain: float, low: float, high: float) -> str:
    return f"{100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def of_each(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row a way, the highest gain first; what was asked in the columns, with its size and the start."""
    asked = {name: gain for row in rows for name, gain in row["gains"].items()}
    heads = [
        f"{name}: {100 * one['before']:.1f} % before; {one['n_images']:,} pictures of {one['n_species']} species"
        for name, one in asked.items()
    ]
    lines = ["| way | " + " | ".join(heads) + " | p (Holm) | may lose more than the margin |"]
    lines.append("|---" * (len(asked) + 3) + "|")
    for row in rows:
        gains = [row["gains"].get(name) for name in asked]
        cells = [points(one["gain"], one["low"], one["high"]) if one else "" for one in gains]
        p = "control" if row["control"] else f"{row['p_holm']:.4f}"
        lines.append(f"| {row['words']} | {' | '.join(cells)} | {p} | {'no' if row['harms_nothing'] else 'yes'} |")
    return "\n".join(lines)


def of_pairs(held: HeldOut) -> str:
    """Markdown: what each way names more right than another, on the same pictures, with p-values that are not corrected."""
    lines = ["| first | second | " + " | ".join(map(str, ALL_ASKED)) + " |", "|---" * (len(ALL_ASKED) + 2) + "|"]
    for first, second in combinations(ways(held.config), 2):
        cells = [_difference(held, [held.answers(way, asked) for way in (first, second)]) for asked in ALL_ASKED]
        names = [describe_way(way, held.config) for way in (first, second)]
        lines.append(f"| {' | '.join([*names, *cells])} |")
    return "\n".join(lines)


def _difference(held: HeldOut, answers: list[Any]) -> str:
    if any(table.empty for table in answers):
        return ""
    found: Gain = held.gain(answers[1]["after"], answers[0]["after"])
    return f"{points(found.gain, found.low, found.high)}, p = {found.p_value:.4f}"


def main(name: str, *others: str) -> None:
    files = ["config/config.yaml", "config/mini.yaml", f"config/{name}.yaml", "config/ways.yaml", *others]
    config = merged(files)
    config["dataset"]["name"] = f"{name}-ways"
    complete(config)
    results = Files(config).results
    summary = read_json(results.file("summary.json"))
    print(summary["advice"], of_each(summary["ways"]), of_pairs(HeldOut(results, config)), sep="\n\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
