"""What lies in the dataset's folder: path, size and content hash of every picture and metadata file.

Snakemake does not notice a changed file inside an input folder, so a scan at start compares the folder with the last
listing and rewrites the listing only when names or contents really changed: a touch makes nothing stale. Files whose size
and modification time are those of the last scan are not read again; the times are kept beside the listing, in a sidecar
that nothing depends on.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from cladeclip.atomic import sha256_of_file
from cladeclip.datasets.pictures import SUFFIXES
from cladeclip.errors import DataError, TableError
from cladeclip.progress import progress
from cladeclip.tables import LISTING, read_table, write_table

METADATA_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet"})


def refresh_listing(root: str | Path, listing_path: str | Path) -> bool:
    """Brings the listing of `root` up to date; returns whether it was rewritten.

    Raises:
        DataError: the folder is absent or holds neither pictures nor metadata.
    """
    if not Path(root).is_dir():
        raise DataError(f"{root}: no such folder; set dataset.root to the folder that holds your pictures.")
    found = files_below(root, SUFFIXES | METADATA_SUFFIXES)
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
        write_table(listing_path, LISTING, listing, {"stage": "listing"})
    if changed or len(unread) or not sidecar.exists():
        found.to_parquet(sidecar)
    return changed


def files_below(root: str | Path, suffixes: frozenset[str]) -> pd.DataFrame:
    """path (POSIX, from `root`), size and mtime_ns of the files with one of these suffixes, by path; no hidden ones."""
    rows = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                path = Path(folder, name)
                stat = path.stat() if path.exists() else path.lstat()
                rows.append((path.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns))
    return pd.DataFrame(sorted(rows), columns=["path", "size", "mtime_ns"])


def pictures_below(folder: str | Path) -> pd.DataFrame:
    """The picture files below a folder, as `files_below` lists them.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: there is no such folder.")
    found = files_below(folder, SUFFIXES)
    if found.empty:
        raise DataError(f"{folder}: there is no picture in it (known are {', '.join(sorted(SUFFIXES))}).")
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
