"""Completes VLM4Bio: downloads its pictures, places the birds that the user downloaded, and says what is missing.

The repository keeps the pictures of a category in chunk folders (`datasets/Fish/chunk*/FILE`) beside `metadata/`, and no
birds. Here they all go to `CATEGORY/images/`, as the repository's own scripts put them.
"""

import filecmp
import logging
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from cladeclip.datasets.layouts.vlm4bio import read_metadata
from cladeclip.errors import CladeclipError, DataError, first_line
from cladeclip.hub import HubError, snapshot
from cladeclip.io.atomic import atomic_path

logger = logging.getLogger(__name__)

# The folder of the repository that becomes the dataset's root.
FOLDER = "datasets"
CUB = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
BIRDS = (
    "VLM4Bio does not redistribute its birds, which are CUB-200-2011's (non-commercial research): download "
    f"{CUB} (1.2 GB) into {{folder}}/Bird, packed or unpacked, and run the same command again."
)


def fetch_vlm4bio(root: str | Path, *, repository: str, revision: str) -> dict[str, Any]:
    """Completes `root` and checks it against the metadata. What already lies there is not fetched again.

    Pictures that lie below a category in other folders (CUB's class folders, the repository's chunks), or in CUB's archive
    in `Bird/`, are put into its `images/`.

    Returns:
        The repository and revision (a commit), and the number of pictures.

    Raises:
        CladeclipError: the download fails, or pictures are missing after it; the message says what to put where.
    """
    root = Path(root)
    missing = _missing(root)
    if missing is None or missing:
        try:
            missing = _complete(root, repository, revision)
        except HubError as error:
            raise CladeclipError(
                f"VLM4Bio could not be downloaded: {error}. Run `snakemake {root}/.fetched.json` where there is internet (a "
                f"cluster's login node), or put the pictures there by hand as {root}/CATEGORY/images/ and "
                f"{root}/CATEGORY/metadata/*.csv (CATEGORY: Fish, Bird, Butterfly; from the dataset {repository}) and run "
                "the same command again."
            ) from error
    if missing:
        hint = BIRDS.format(folder=root) if any(map(_is_bird, missing)) else ""
        raise CladeclipError(
            f"{root}: {len(missing):,} listed pictures are missing, the first is {missing[0]}. {hint}".rstrip()
        )
    shutil.rmtree(_staging(root), ignore_errors=True)
    return {"repository": repository, "revision": revision, "pictures": len(read_metadata(root))}


def what_is_there(root: str | Path) -> tuple[int, int, str]:
    """The numbers of listed and of present pictures of VLM4Bio, and what to do about missing birds, if any are.

    Without metadata both numbers are 0.
    """
    root = Path(root)
    missing = _missing(root)
    if missing is None:
        return 0, 0, BIRDS.format(folder=root)
    listed = len(read_metadata(root))
    return listed, listed - len(missing), BIRDS.format(folder=root) if any(map(_is_bird, missing)) else ""


def _is_bird(image_id: str) -> bool:
    return image_id.startswith("Bird/")


def _missing(root: Path) -> list[str] | None:
    """Listed pictures that do not lie there; None where there is no metadata yet."""
    try:
        listed = read_metadata(root)
    except DataError:
        return None
    return [image_id for image_id in listed["image_id"] if not (root / image_id).is_file()]


def _staging(root: Path) -> Path:
    """Where files are until they are whole."""
    return root / ".download"


def _complete(root: Path, name: str, revision: str) -> list[str]:
    """Fetches and places what is missing; missing birds are reported before the long download of the rest.

    Returns:
        what is missing still.
    """
    if _missing(root) is None:
        _fetch(root, name, revision, is_metadata)
        if _missing(root) is None:
            raise HubError(f"{name} at {revision} brought no metadata; check dataset.fetch")
    missing = set(_place_what_lies_there(root, _missing(root) or []))
    if birds := sorted(filter(_is_bird, missing)):
        return birds
    if missing:
        _fetch(root, name, revision, lambda file: file.startswith(f"{FOLDER}/") and in_layout(file) in missing)
    return _missing(root) or []


def _fetch(root: Path, name: str, revision: str, wanted: Callable[[str], bool]) -> None:
    """Downloads the `wanted` files of the repository to their places in the layout."""

    def choose(files: Iterable[str]) -> list[str]:
        places: dict[str, str] = {}
        for file in filter(wanted, files):
            if (other := places.setdefault(in_layout(file), file)) != file:
                raise HubError(f"{name} has two files of one name, {other} and {file}")
        return list(places.values())

    got = snapshot(name, choose, _staging(root), revision=revision, kind="dataset")
    for file in got.files:
        _move(got.folder / file, root / in_layout(file))


def is_metadata(file: str) -> bool:
    """Whether a file of the repository is one of its lists of pictures."""
    return PurePosixPath(file).match(f"{FOLDER}/*/metadata/*.csv")


def in_layout(file: str) -> str:
    """The path of a repository's file in the layout (for a picture, its image_id)."""
    _, category, folder, *_, name = PurePosixPath(file).parts if file.count("/") > 2 else ("", "", "", "")
    return f"{category}/{folder if folder == 'metadata' else 'images'}/{name}"


def _place_what_lies_there(root: Path, missing: list[str]) -> list[str]:
    """Moves missing pictures that lie elsewhere below their category, or in an archive there, to where they are expected.

    Returns:
        what is missing still.
    """
    for category in sorted({picture.split("/")[0] for picture in missing}):
        wanted = {PurePosixPath(picture).name for picture in missing if picture.startswith(f"{category}/")}
        found: dict[str, Path] = {}
        for path in sorted((root / category).rglob("*")):
            if path.name in wanted and path.is_file():
                other = found.setdefault(path.name, path)
                if other != path and not filecmp.cmp(other, path, shallow=False):
                    raise DataError(f"{other} and {path} are two pictures of one name: remove the wrong one.")
        for name, path in found.items():
            _move(path, root / category / "images" / name)
        for archive in sorted([*(root / category).glob("*.tgz"), *(root / category).glob("*.tar.gz")]):
            _unpack(archive, wanted - set(found), root / category / "images")
        if found:
            logger.info("%s: %d pictures that lay in other folders are in images/ now.", root / category, len(found))
    return [picture for picture in missing if not (root / picture).is_file()]


def _unpack(archive: Path, wanted: set[str], folder: Path) -> None:
    """Takes the wanted pictures out of an archive, by their file names."""
    logger.info("Unpacking %s.", archive)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                source = tar.extractfile(member) if name in wanted and member.isfile() else None
                if source and not (folder / name).exists():
                    with atomic_path(folder / name) as temporary, temporary.open("wb") as target:
                        shutil.copyfileobj(source, target)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: cannot be unpacked ({first_line(error)}): download it again.") from error


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
