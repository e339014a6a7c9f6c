"""Are the results still what was written? `snakemake verify`, `snakemake repair`, and `make reproduce`.

    python -m cladeclip.run.integrity results/demo manifest.json

says which results of a run are other bytes than those that a manifest.json lists, that of another machine for example.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from cladeclip.errors import DataError
from cladeclip.io.atomic import read_json, sha256_of_file

SHOWN = 20


def differences(folder: str | Path, manifest: Mapping[str, str]) -> dict[str, str]:
    """The files of `manifest` that are not as it says, by path below `folder`: `missing` or `other bytes`."""
    found = {}
    for name, digest in sorted(manifest.items()):
        path = Path(folder, name)
        if not path.is_file():
            found[name] = "missing"
        elif sha256_of_file(path) != digest:
            found[name] = "other bytes"
    return found


def damaged_files(results: str | Path, weights: str | Path) -> dict[Path, str]:
    """Results that are not as manifest.json says, and files of encoders that are not as their encoder.json says.

    Raises:
        DataError: there is no manifest.json.
    """
    path = Path(results, "manifest.json")
    if not path.is_file():
        raise DataError(f"{path} is not there: only a finished run can be verified; run snakemake first.")
    found = {Path(results, name): fault for name, fault in differences(results, read_json(path)).items()}
    for record in sorted([*Path(weights).glob("*/encoder.json"), *Path(results).glob("*/checkpoints/*/encoder.json")]):
        listed = {name: about["sha256"] for name, about in read_json(record)["files"].items()}
        found |= {record.parent / name: fault for name, fault in differences(record.parent, listed).items()}
    return found


def verify(results: str | Path, weights: str | Path) -> None:
    """Checks everything.

    Raises:
        DataError: something is not as it was written; the sentence names it, and the command that mends it.
    """
    damaged = damaged_files(results, weights)
    if damaged:
        raise DataError(
            f"{len(damaged)} file(s) are not what was written: {in_words(damaged)}. `snakemake repair`, with the same "
            "options, removes them; the next run makes them again."
        )


def repair(results: str | Path, weights: str | Path) -> list[Path]:
    """Removes what is damaged, so that the next run makes it again; of an encoder the record, too.

    Snakemake does not notice the loss of a file that only finished jobs have read. So manifest.json, which depends on all,
    is removed as well, and last: until then it tells what is damaged.
    """
    removed = []
    for path in damaged_files(results, weights):
        path.unlink(missing_ok=True)
        removed.append(path)
        (path.parent / "encoder.json").unlink(missing_ok=True)
    if removed:
        Path(results, "manifest.json").unlink()
    return removed


def in_words(faults: Mapping[Path, str] | Mapping[str, str]) -> str:
    """The first SHOWN of them."""
    shown = [f"{path} ({fault})" for path, fault in list(faults.items())[:SHOWN]]
    return ", ".join(shown) + (f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")


def main(arguments: Iterable[str]) -> int:
    results, manifest = arguments
    for path in (Path(results), Path(manifest)):
        if not path.exists():
            print(f"{path}: is not there; NAME is that of a finished run, MANIFEST the manifest.json of another.")
            return 2
    listed = read_json(manifest)
    faults = differences(results, listed)
    print(f"{len(listed) - len(faults)} of {len(listed)} results are the same bytes as {manifest} says.")
    if faults:
        print(f"Not the same: {in_words(faults)}.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
