"""Downloads VLM4Bio from the Hugging Face hub, keeps what already lies there, and says what is missing."""

import logging
from pathlib import Path
from typing import Any

from cladeclip.datasets.vlm4bio import read_metadata
from cladeclip.errors import CladeclipError, DataError, first_line

logger = logging.getLogger(__name__)

BIRDS = (
    "VLM4Bio does not redistribute its birds: get CUB-200-2011 (non-commercial research) from "
    "https://www.vision.caltech.edu/datasets/cub_200_2011/ and put its pictures into {folder}/Bird/images/."
)


def fetch_vlm4bio(root: str | Path, *, repository: str, revision: str) -> dict[str, Any]:
    """Completes `root` (a folder called `datasets`, as in the repository) and checks it against the metadata.

    Where every listed picture is already there, nothing is downloaded.

    Returns:
        The repository and revision, and the number of pictures.

    Raises:
        CladeclipError: the download fails, or pictures are missing after it.
    """
    root = Path(root)
    missing = _missing(root)
    if missing is None or missing:
        _download(root, repository, revision)
        missing = _missing(root)
    if missing is None:
        raise CladeclipError(f"{root}: {repository} brought no metadata; check dataset.fetch.")
    if missing:
        hint = BIRDS.format(folder=root) if any(name.startswith("Bird/") for name in missing) else ""
        raise CladeclipError(f"{root}: {len(missing)} listed pictures are missing, the first is {missing[0]}. {hint}")
    return {"repository": repository, "revision": revision, "pictures": len(read_metadata(root))}


def _missing(root: Path) -> list[str] | None:
    """Listed pictures that do not lie there; None where there is no metadata yet."""
    try:
        listed = read_metadata(root)
    except DataError:
        return None
    return [image_id for image_id in listed["image_id"] if not (root / image_id).is_file()]


def _download(root: Path, repository: str, revision: str) -> None:
    from huggingface_hub import HfApi, snapshot_download

    wanted = [f"{root.name}/*/images/*", f"{root.name}/*/metadata/*.csv"]
    try:
        info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
        files = [file for file in info.siblings or [] if file.rfilename.startswith(f"{root.name}/")]
        size = sum(file.size or 0 for file in files)
        logger.info("%s has %d files, %.1f GB, below %s/.", repository, len(files), size / 1e9, root.name)
        snapshot_download(
            repository, repo_type="dataset", revision=revision, local_dir=str(root.parent), allow_patterns=wanted
        )
    except Exception as error:  # the hub client raises errors of several libraries where there is no network
        raise CladeclipError(
            f"VLM4Bio could not be downloaded ({first_line(error)}). Run `snakemake {root}/.fetched.json` where there is "
            f"internet (a cluster's login node), or put the pictures there by hand as {root}/CATEGORY/images/ and "
            f"{root}/CATEGORY/metadata/*.csv (CATEGORY: Fish, Bird, Butterfly; from the dataset {repository}) and run "
            "the same command again."
        ) from error
