"""Packs what a GPU machine without network lacks, as wheels: python envs/gpu_wheels.py FOLDER [--python 3.12].

Such a machine has torch for its GPU, torchvision, timm, transformers, scikit-learn, pandas and pyarrow. The rest of the
installed environment that `make gpu-check` uses is downloaded (or built) for its Python, in the same versions, and listed.
faiss is left out: its build for GPUs has some hundred MB, and on a GPU k-means does without.
"""

import argparse
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZIP_LZMA, ZipFile

from packaging.requirements import Requirement

THERE = ("torch", "torchvision", "timm", "transformers", "scikit-learn", "pandas", "pyarrow")
TO_TEST = ("pytest", "pytest-xdist", "hypothesis", "pytorch-metric-learning")
# The weights of EfficientNet-Lite0 are a student of config/mini.yaml alone.
LEFT_OUT = re.compile("faiss|nvidia|cuda|triton|efficientnet-lite0")
# Solvers for other systems.
NOT_PACKED = re.compile("pulp/solverdir/cbc/(win|osx|linux/(i32|arm64))/")
# Of glibc, from the newest on; pip takes no wheel of an older tag by itself.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 24, 17)] + ["manylinux2014_x86_64", "any"]
MOST_MB = 60


def with_all_they_need(names: tuple[str, ...], python: str, known: frozenset[str] = frozenset()) -> dict[str, str]:
    """Versions of the installed distributions that these need, and theirs, by normalised name."""
    found: dict[str, str] = {}
    left = list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in found or name in known or LEFT_OUT.search(name):
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # optional there, or for another system
            continue
        found[name] = installed.version
        for line in installed.requires or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"python_version": python, "extra": ""}):
                left.append(needed.name)
    return found


def bring(name: str, version: str, python: str, folder: Path) -> None:
    """Its wheel into `folder`; built where there is only a source, which must then be pure Python."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    for_it = ["--only-binary=:all:", "--python-version", python, *platforms, "--dest", str(folder)]
    downloaded = subprocess.run(
        [*pip, "download", "--no-deps", *for_it, f"{name}=={version}"], capture_output=True, text=True
    )
    if downloaded.returncode:
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), f"{name}=={version}"], check=True)
        built = next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"), None)
        if built is not None and not built.name.endswith("none-any.whl"):
            sys.exit(f"{built.name}: no wheel for Python {python}, and what was built here is for this Python alone.")


def packed_tighter(wheel: Path) -> None:
    """By LZMA, which pip unpacks as well: two thirds of the size."""
    smaller = wheel.with_suffix(".smaller")
    with ZipFile(wheel) as whole, ZipFile(smaller, "w", ZIP_LZMA) as packed:
        for entry in whole.infolist():
            if not NOT_PACKED.match(entry.filename):
                packed.writestr(entry, whole.read(entry), ZIP_LZMA)
    smaller.replace(wheel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="of the GPU machine")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    there = with_all_they_need(THERE, arguments.python)
    needed = with_all_they_need(("cladeclip", *TO_TEST), arguments.python, frozenset(there))
    needed.pop("cladeclip")  # comes as its source
    for old in arguments.folder.glob("*.whl"):
        old.unlink()
    for number, (name, version) in enumerate(sorted(needed.items()), start=1):
        bring(name, version, arguments.python, arguments.folder)
        print(f"\r{number} of {len(needed)} packed", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for wheel in arguments.folder.glob("*.whl"):
        packed_tighter(wheel)
    wheels = sorted(arguments.folder.glob("*.whl"), key=lambda path: -path.stat().st_size)
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:7.2f} MB  {wheel.name}")
    total = sum(wheel.stat().st_size for wheel in wheels) / 2**20
    print(f"{total:7.1f} MiB in {len(wheels)} wheels below {arguments.folder}")
    if total > MOST_MB:
        sys.exit(f"That is more than {MOST_MB} MiB.")


if __name__ == "__main__":
    main()
