"""Guesses the layout of a folder or table of pictures, from which `make new` writes a config."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.datasets.addresses import cleaned, is_of_web
from cladeclip.datasets.layouts.dwca import from_archive, is_archive, read_archive
from cladeclip.datasets.layouts.table import ADDRESS_COLUMNS, IMAGE_COLUMNS, from_frame
from cladeclip.datasets.listing import files_below, pictures_below
from cladeclip.datasets.names import GENUS, HYBRID, NAMED, OTHER, SPECIES, genus_of, joined, read_name
from cladeclip.datasets.pictures import may_be_picture
from cladeclip.errors import DataError
from cladeclip.io.table_file import find_column, is_table, read_table_file

# How many values of a column are looked at.
LOOK_AT = 200
# The share of them that must be pictures, or names of species, for the column to be taken for one of those.
MOST = 0.9
# How the names of a rank end, or what they are; the first rank that fits all folders of a level is taken.
ENDINGS = {
    "family": ("idae", "aceae"),
    "order": ("iformes", "ales", "optera", "odonata"),
    "kingdom": ("animalia", "plantae", "fungi"),
    "phylum": ("chordata", "arthropoda", "mollusca", "cnidaria", "mycota", "phyta"),
    "class": (
        "opsida",
        "phyceae",
        "mycetes",
        "ichthyes",
        "pterygii",
        "aves",
        "insecta",
        "mammalia",
        "amphibia",
        "reptilia",
    ),
}


def guess_dataset(data: str | Path, fetched_to: str | Path = "data") -> tuple[dict[str, Any], list[str]]:
    """The config's `dataset:` (without its name) for a folder, an archive, or a table whose pictures lie beside it or below.

    Args:
        fetched_to: the root where metadata give the addresses of pictures, which are to be fetched.

    Returns:
        that section, and why tables in the folder were not used.

    Raises:
        DataError: there is no such folder or table, or it has no known layout.
    """
    data, fetched_to = Path(data), Path(fetched_to)
    if is_archive(data):
        return _archive(data, fetched_to, beside=data.is_dir()), []
    if data.is_file():
        return _table(data.parent, data, fetched_to), []
    if not data.is_dir():
        raise DataError(f"{data}: there is no such folder or table.")
    if (data / "images").is_dir() and any(data.glob("metadata/*.csv")):
        raise DataError(
            f"{data}: is one category of VLM4Bio's layout; give the folder above it, {data.resolve().parent}."
        )
    if any(data.glob("*/images")) and any(data.glob("*/metadata/*.csv")):
        return {"root": str(data), "layout": "vlm4bio", "source": "folder"}, []
    archives = [path for path in sorted(data.glob("*.zip")) if is_archive(path)]
    if len(archives) == 1:
        return _archive(archives[0], fetched_to, beside=True), []
    faults: list[str] = []
    for path in sorted(path for path in data.iterdir() if path.is_file() and is_table(path.name)):
        try:
            return _table(data, path, fetched_to), faults
        except DataError as error:
            faults.append(str(error))
    try:
        return _folders(data), faults
    except DataError as error:
        hint = " Paths are taken from the table's folder. docs/data.md says what a table needs." if faults else ""
        raise DataError(" ".join([*faults, str(error)]) + hint) from error


def _archive(path: Path, fetched_to: Path, *, beside: bool) -> dict[str, Any]:
    """The config of a Darwin Core archive: its pictures lie beside it, or else are to be fetched.

    Args:
        beside: whether to look for them; a file's folder may be somebody's downloads.
    """
    root, archive = (path if path.is_dir() else path.parent), read_archive(path)
    to_fetch = archive.pictures["address"].map(is_of_web).mean() >= MOST
    there = files_below(root)[0]["path"] if beside or not to_fetch else pd.Series(dtype=str)
    if from_archive(archive, there, {})["image_id"].isin(there).mean() >= MOST:
        place = {"archive": "." if path.is_dir() else path.name, "columns": {}}
        return {"root": str(root), "layout": "dwca", "source": "folder", "dwca": place}
    return {"layout": "dwca", **_to_fetch(fetched_to), "dwca": {"archive": str(path.resolve()), "columns": {}}}


def _to_fetch(root: Path) -> dict[str, Any]:
    return {"root": str(root), "source": "addresses", "addresses": {"contact": ""}}


def _table(root: Path, path: Path, fetched_to: Path) -> dict[str, Any]:
    """The config of a table, with those columns whose names the layout does not know.

    Raises:
        DataError: it cannot be read, or has no column of pictures or none of names.
    """
    table = read_table_file(path)
    picture, address = _column(table, IMAGE_COLUMNS, lambda value: _is_file(Path(root, value))), None
    # A column is only named where the layout would not find it by itself.
    if picture is not None:
        columns = {} if picture == find_column(table, IMAGE_COLUMNS) else {"image": picture}
    else:
        address = _column(table, ADDRESS_COLUMNS, lambda value: is_of_web(cleaned(value)))
        if address is None:
            raise DataError(
                f"{path.name} has no column that holds paths of pictures below {root}, nor one of their addresses."
            )
        columns = {"address": address}
    try:
        names = [name for name in from_frame(path, table.head(LOOK_AT), columns)["scientific_name"] if name]
    except DataError:
        names = []
    if not names or sum(read_name(name).kind in NAMED for name in names) < MOST * len(names):
        other = _column(table, (), lambda value: read_name(value).kind in (SPECIES, OTHER, HYBRID))
        if other is not None:
            columns["scientific_name"] = other
        elif not names:
            raise DataError(f"{path.name} has no column that holds names of species.")
    if address is not None:
        return {"layout": "table", **_to_fetch(fetched_to), "table": {"file": str(path.resolve()), "columns": columns}}
    return {"root": str(root), "layout": "table", "source": "folder", "table": {"file": path.name, "columns": columns}}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text that is too long for a name
        return False


def _column(table: pd.DataFrame, usual: tuple[str, ...], fits: Callable[[str], bool]) -> str | None:
    """The column whose values fit, a usual name first; None where there is none."""
    first = find_column(table, usual)
    for column in sorted(table.columns, key=lambda name: name != first):
        values = [value.strip() for value in table[column].head(LOOK_AT) if value.strip()]
        if values and sum(map(fits, values)) >= MOST * len(values):
            return str(column)
    return None


def _folders(root: Path) -> dict[str, Any]:
    """The config of one folder per species; the ranks of the folders around it are guessed from their names."""
    paths = map(PurePosixPath, pictures_below(root)["path"])
    parts = [path.parts[:-1] for path in paths if len(path.parts) > 1]
    if not parts:
        raise DataError(
            f"{root}: holds pictures, but neither folders named after species nor a table of names; docs/data.md says how "
            "to arrange them."
        )
    species = {folders[-1] for folders in parts}
    ranks: list[str] = []
    for level in range(min(map(len, parts)) - 1):
        inmost = {(folders[level], folders[level + 1]) for folders in parts} if level + 2 == len(parts[0]) else set()
        rank = _rank({folders[level] for folders in parts}, species, inmost)
        if rank in ranks or (rank == "category" and level > 0):
            break  # What lies further inside need not be named.
        ranks.append(rank)
    return {"root": str(root), "layout": "folders", "source": "folder", "folders": {"ranks": ranks}}


def _rank(names: set[str], species: set[str], around: set[tuple[str, str]]) -> str:
    """The rank that folders of these names have; `category` where none fits.

    Args:
        around: (folder, species folder) pairs, if these folders directly hold the species folders; else empty.
    """
    if names <= {read_name(name).genus for name in species}:
        return "genus"
    if around and all(genus_of(genus) == genus and joined(genus, epithet) != epithet for genus, epithet in around):
        return "genus"
    for rank, endings in ENDINGS.items():
        if all(name.lower().endswith(endings) for name in names):
            return rank
    return "category"


def problems(listed: pd.DataFrame, paths: Iterable[str]) -> dict[str, int]:
    """Problems of the listed pictures: phrases, and how many pictures or species each concerns.

    Args:
        listed: as `read_listed` and `name_pictures` give it.
        paths: the files below the dataset's folder.
    """
    paths = set(paths)
    pictures = {path for path in paths if may_be_picture(path)}
    names, kinds = listed["scientific_name"], listed["name_kind"]
    per_species = names[names != ""].value_counts()
    there = listed["image_id"].isin(paths)
    to_fetch = (listed["address"] != "") if "address" in listed else pd.Series(False, index=listed.index)
    found = {
        "listed pictures are to be fetched from their addresses": int((~there & to_fetch).sum()),
        "listed pictures are not there": int((~there & ~to_fetch).sum()),
        "pictures are there, but not listed": len(pictures - set(listed["image_id"])),
        "listed pictures have no name of a species (left out, unless dataset.unnamed is keep)": int(
            (names == "").sum()
        ),
        "pictures are listed more than once": int(listed["image_id"].duplicated().sum()),
        "pictures are named by a genus alone": int((kinds == GENUS).sum()),
        "species have fewer than 5 pictures": int((per_species < 5).sum()),
    }
    return {phrase: count for phrase, count in found.items() if count}
