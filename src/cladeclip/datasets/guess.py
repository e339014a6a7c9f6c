"""How a folder or table of pictures is arranged, guessed from what lies there; `make new` writes a config from it."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.datasets.layouts import IMAGE_COLUMNS, NAME_COLUMNS, read_table_file
from cladeclip.datasets.listing import METADATA_SUFFIXES, pictures_below
from cladeclip.datasets.names import name_kind, normalise_name
from cladeclip.datasets.pictures import SUFFIXES
from cladeclip.errors import DataError

# How many values of a column are looked at.
LOOK_AT = 200
# The share of them that must be pictures, or names of species, for the column to be taken for one of those.
MOST = 0.9
BINOMIAL = re.compile(r"[A-Z][a-z-]+ [a-z][a-z-]+( [a-z][a-z-]+)*")
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


def guess_dataset(data: str | Path) -> dict[str, Any]:
    """The config's `dataset:` (without its name) for a folder, or for a table whose pictures lie beside it or below.

    Raises:
        DataError: there is nothing there, or no way of keeping pictures that the workflow knows.
    """
    data = Path(data)
    if data.is_file():
        return _table(data.parent, [data])
    if not data.is_dir():
        raise DataError(f"{data}: there is no such folder or table.")
    if (data / "images").is_dir() and any(data.glob("metadata/*.csv")):
        raise DataError(
            f"{data}: is one category of VLM4Bio's layout; give the folder above it, {data.resolve().parent}."
        )
    if any(data.glob("*/images")) and any(data.glob("*/metadata/*.csv")):
        return {"root": str(data), "layout": "vlm4bio", "source": "folder"}
    tables = [path for path in sorted(data.iterdir()) if path.suffix.lower() in METADATA_SUFFIXES]
    if tables:
        return _table(data, tables)
    return _folders(data)


def _table(root: Path, tables: Iterable[Path]) -> dict[str, Any]:
    """The first table that has a column of pictures and one of names."""
    faults = []
    for path in tables:
        table = read_table_file(path)
        picture = _column(table, IMAGE_COLUMNS, lambda value: Path(root, value).is_file())
        name = _column(table, NAME_COLUMNS, lambda value: bool(BINOMIAL.fullmatch(normalise_name(value))))
        if picture and name:
            usual = {"image": IMAGE_COLUMNS, "scientific_name": NAME_COLUMNS}
            found = {"image": picture, "scientific_name": name}
            # A column is only named where the layout would not find it by itself.
            columns = {
                key: column
                for key, column in found.items()
                if column != next((usual_name for usual_name in usual[key] if usual_name in table.columns), None)
            }
            dataset = {"root": str(root), "layout": "table", "source": "folder"}
            return {**dataset, "table": {"file": path.name, "columns": columns}}
        missing = " and ".join(
            what for what, column in (("paths of pictures", picture), ("names of species", name)) if not column
        )
        faults.append(f"{path.name} has no column that holds {missing} below {root}")
    raise DataError(
        f"{'; '.join(faults)}. Paths are taken from the table's folder. docs/data.md says what a table needs."
    )


def _column(table: pd.DataFrame, usual: tuple[str, ...], fits: Any) -> str | None:
    """The column whose values fit, a usual name first; None where there is none."""
    for column in [name for name in usual if name in table.columns] + [c for c in table.columns if c not in usual]:
        values = [value for value in table[column].head(LOOK_AT) if value]
        if values and sum(map(fits, values)) >= MOST * len(values):
            return str(column)
    return None


def _folders(root: Path) -> dict[str, Any]:
    """A folder a species; what the folders around it are is read off their names."""
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
        rank = _rank({folders[level] for folders in parts}, species)
        if rank in ranks or (rank == "category" and level > 0):
            break  # What lies further inside need not be named.
        ranks.append(rank)
    return {"root": str(root), "layout": "folders", "source": "folder", "folders": {"ranks": ranks}}


def _rank(names: set[str], species: set[str]) -> str:
    """The rank that folders of these names have; `category` where none fits."""
    genera = {normalise_name(name.replace("_", " ")).split(" ")[0].lower() for name in species}
    if {name.lower() for name in names} <= genera:
        return "genus"
    for rank, endings in ENDINGS.items():
        if all(name.lower().endswith(endings) for name in names):
            return rank
    return "category"


def problems(listed: pd.DataFrame, paths: Iterable[str]) -> dict[str, int]:
    """What of the listed pictures cannot be used or deserves a look: a phrase, and how many.

    Args:
        listed: as `read_listed` gives it, with normalised names.
        paths: the files below the dataset's folder.
    """
    paths = set(paths)
    pictures = {path for path in paths if PurePosixPath(path).suffix.lower() in SUFFIXES}
    names = listed["scientific_name"]
    per_species = names[names != ""].value_counts()
    of_genus = [name_kind(str(name)) == "genus" for name in per_species.index]
    found = {
        "listed pictures are not there": int((~listed["image_id"].isin(paths)).sum()),
        "pictures are there, but not listed": len(pictures - set(listed["image_id"])),
        "listed pictures have no name": int((names == "").sum()),
        "pictures are listed more than once": int(listed["image_id"].duplicated().sum()),
        "pictures are named by a genus alone": int(per_species[of_genus].sum()),
        "species have fewer than 5 pictures": int((per_species < 5).sum()),
    }
    return {phrase: count for phrase, count in found.items() if count}
