"""What lies in the dataset's folder: path, size and content hash of every picture and metadata file.

Snakemake does not notice a changed file inside an input folder, so a scan at start compares the folder with the last
listing and rewrites the listing only when names or contents really changed: a touch makes nothing stale. Files whose size
and modification time are those of the last scan are not read again; the times are kept beside the listing, in a sidecar
that nothing depends on.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from cladeclip.datasets.pictures import SUFFIXES, is_picture
from cladeclip.errors import DataError, TableError
from cladeclip.io.atomic import sha256_of_file
from cladeclip.io.parquet import read_table, write_table
from cladeclip.io.table_file import is_table
from cladeclip.run.progress import progress
from cladeclip.tables import LISTING

logger = logging.getLogger(__name__)


def refresh_listing(root: str | Path, listing_path: str | Path) -> bool:
    """Brings the listing of `root` up to date; returns whether it was rewritten.

    Raises:
        DataError: the folder is absent or holds neither pictures nor metadata.
    """
    if not Path(root).is_dir():
        raise DataError(f"{root}: no such folder; set dataset.root to the folder that holds your pictures.")
    found, others = files_below(root, tables=True)
    if found.empty:
        raise DataError(f"{root}: holds no picture and no metadata file; check dataset.root.")
    sidecar = Path(listing_path).with_name(".listing-times.parquet")
    known = _known(sidecar, listing_path)
    found = found.merge(known, on=["path", "size", "mtime_ns"], how="left")
    unread = found.index[found["content_hash"].isna()]
    found["content_hash"] = found["content_hash"].astype(object)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = [Path(root, path) for path in found.loc[unread, "path"]]
        hashes = list(progress(pool.map(_hash, paths), total=len(paths), desc="reading new files", unit="files"))
    found.loc[unread, "content_hash"] = hashes
    listing = found[list(LISTING.columns)]
    changed = not _same(listing, listing_path)
    if changed:
        for suffix, count in others.most_common():
            logger.info("%d file(s) %s are neither pictures nor tables, and not used.", count, suffix)
        write_table(listing_path, LISTING, listing, {"stage": "listing"})
    if changed or len(unread) or not sidecar.exists():
        found.to_parquet(sidecar)
    return changed


def files_below(root: str | Path, *, tables: bool = False) -> tuple[pd.DataFrame, Counter[str]]:
    """Pictures, and tables where asked for, and how many other files there are by suffix (`named *.mov`).

    Links are followed; hidden files and folders are left out. A folder that is not there holds nothing.

    Returns:
        path (POSIX, from `root`), size and mtime_ns, by path; and the count.
    """
    rows, others = [], Counter[str]()
    for path in _walk(Path(root), frozenset()) if Path(root).is_dir() else ():
        if is_picture(path) or (tables and is_table(path.name)):
            stat = path.stat() if path.exists() else path.lstat()
            rows.append((path.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns))
        else:
            others[f"named *{path.suffix.lower()}" if path.suffix else "without a suffix"] += 1
    return pd.DataFrame(sorted(rows), columns=["path", "size", "mtime_ns"]), others


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """The files below a folder; a link back to one of the folders above is not followed."""
    stat = folder.stat()
    here = stat.st_dev, stat.st_ino
    if here in above:
        logger.warning("%s: a link to a folder that it lies in is not followed.", folder)
        return
    try:
        with os.scandir(folder) as entries:
            visible = sorted(
                (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
            )
    except PermissionError as error:
        logger.warning("%s: cannot be looked into, and is left out (%s).", folder, error.strerror)
        return
    for entry in visible:
        if _is_folder(entry):
            yield from _walk(Path(entry.path), above | {here})
        else:
            yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def pictures_below(folder: str | Path) -> pd.DataFrame:
    """The picture files below a folder, as `files_below` lists them.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: there is no such folder.")
    found, others = files_below(folder)
    if found.empty:
        there = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5)) or "nothing"
        raise DataError(
            f"{folder}: there is no picture in it, but {there}; known are {', '.join(sorted(SUFFIXES))}, and pictures "
            "without a suffix."
        )
    return found


def _known(sidecar: Path, listing_path: str | Path) -> pd.DataFrame:
    nothing = pd.DataFrame({"path": [], "size": [], "mtime_ns": [], "content_hash": []}).astype(
        {"path": str, "size": "int64", "mtime_ns": "int64", "content_hash": object}
    )
    if not sidecar.exists() or not Path(listing_path).exists():
        return nothing
    try:
        return pd.read_parquet(sidecar)[list(nothing.columns)]
    except (OSError, KeyError, ValueError):  # a damaged sidecar costs a re-read, nothing else
        return nothing


def _same(listing: pd.DataFrame, listing_path: str | Path) -> bool:
    try:
        last = read_table(listing_path, LISTING)
    except TableError:
        return False
    return len(last) == len(listing) and all(
        (last[column].to_numpy() == listing[column].to_numpy()).all() for column in LISTING.columns
    )


def _hash(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError:  # a dangling link or a file without read permission: `prepare` quarantines it with its reason
        return "unreadable"
