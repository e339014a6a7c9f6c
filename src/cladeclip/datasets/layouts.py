"""How people keep their pictures: which are listed, and what they are called.

Every layout gives a table with image_id (the path below the dataset's root, POSIX form), category and scientific_name as
written (empty where blank), and whatever columns of HIGHER_RANKS the data has.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.datasets import vlm4bio
from cladeclip.datasets.pictures import SUFFIXES
from cladeclip.errors import ConfigError, DataError, first_line
from cladeclip.tables import HIGHER_RANKS

# Where no column is mapped, the first of these that the table has.
IMAGE_COLUMNS = ("image_path", "image", "path", "file_name", "filename", "fileNameAsDelivered", "file")
NAME_COLUMNS = ("scientificName", "scientific_name", "species")
WITHOUT_CATEGORY = "Specimens"


def read_listed(root: str | Path, listing: pd.DataFrame, dataset: Mapping[str, Any]) -> pd.DataFrame:
    """The listed pictures of the layout that `dataset` (the config's `dataset:`) names.

    Raises:
        ConfigError, DataError: the metadata is not what the layout needs; the message names the file or the key.
    """
    match dataset["layout"]:
        case "vlm4bio":
            return vlm4bio.read_metadata(root)
        case "table":
            return from_table(root, **dataset["table"])
        case "folders":
            return from_folders(listing, **dataset["folders"])
    raise ConfigError(f"config: dataset.layout is {dataset['layout']!r}; allowed are vlm4bio, table, folders.")


def from_table(root: str | Path, *, file: str, columns: Mapping[str, str]) -> pd.DataFrame:
    """A CSV, tab-separated or Parquet table with an image path a row, as GBIF and iDigBio export them.

    Args:
        file: the table, below `root`.
        columns: for image, scientific_name, category or one of HIGHER_RANKS, the column of the table that holds it
            where it is not called by its Darwin Core term.
    """
    path = Path(root, file)
    table = read_table_file(path)
    found = {
        "image_id": _column(path, table, columns, "image", IMAGE_COLUMNS),
        "scientific_name": _column(path, table, columns, "scientific_name", NAME_COLUMNS),
    }
    for rank in ("category", *HIGHER_RANKS):
        if rank in columns or rank in table.columns:
            found[rank] = _column(path, table, columns, rank, (rank,))
    listed = pd.DataFrame({name: table[column].astype(str).str.strip() for name, column in found.items()})
    listed["image_id"] = [str(PurePosixPath(image.replace("\\", "/"))) for image in listed["image_id"]]
    if "category" not in listed:
        listed["category"] = listed.get("class", WITHOUT_CATEGORY)
    listed["category"] = listed["category"].replace("", WITHOUT_CATEGORY)
    return listed


def from_folders(listing: pd.DataFrame, *, ranks: list[str]) -> pd.DataFrame:
    """One folder a species, named after it (`Lepomis_gulosus` or `Lepomis gulosus`); folders around it are higher ranks.

    Args:
        listing: the `listing` table: every picture file that lies in a folder is listed.
        ranks: what the folders around the species folder are, from the outermost (of HIGHER_RANKS,
            `category` or `genus`). Where the outermost is not `category`, it is the category as well.
    """
    rows = []
    for path in map(PurePosixPath, listing["path"]):
        if path.suffix.lower() not in SUFFIXES:
            continue
        *above, species = path.parts[:-1] or ("",)
        if len(above) < len(ranks):
            raise DataError(
                f"{path}: lies in {len(above)} folder(s) above its species folder, but dataset.folders.ranks names "
                f"{len(ranks)} ({', '.join(ranks)})."
            )
        around = dict(zip(ranks, above, strict=False))
        category = around.pop("category", above[0] if above else WITHOUT_CATEGORY)
        around.pop("genus", None)  # the species' name says it
        rows.append(
            {"image_id": str(path), "category": category, "scientific_name": species.replace("_", " "), **around}
        )
    if not rows:
        raise DataError(
            "layout folders: no picture lies in a folder; put each species' pictures into a folder of its own."
        )
    return pd.DataFrame(rows)


def read_table_file(path: Path) -> pd.DataFrame:
    """A CSV, tab-separated or Parquet table, every value a text, empty where there is none.

    Raises:
        DataError: there is no such file, or it cannot be read as a table.
    """
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path).astype("string").fillna("")
        # GBIF's exports are tab-separated, whatever they are called; quotes there are part of the text.
        with open(path, encoding="utf-8-sig") as file:
            tabs = "\t" in file.readline()
        options: dict[str, Any] = {"sep": "\t", "quoting": 3} if tabs else {}
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", **options)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such table; correct dataset.table.file.") from error
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read as a table ({first_line(error)}).") from error


def _column(path: Path, table: pd.DataFrame, columns: Mapping[str, str], name: str, usual: tuple[str, ...]) -> str:
    if name in columns:
        if columns[name] not in table.columns:
            raise DataError(
                f"{path}: has no column '{columns[name]}', which dataset.table.columns.{name} names; "
                f"it has {', '.join(map(str, table.columns[:12]))}."
            )
        return columns[name]
    for candidate in usual:
        if candidate in table.columns:
            return candidate
    raise DataError(
        f"{path}: none of its columns is called {' or '.join(usual)}; say which it is with dataset.table.columns.{name}. "
        f"It has {', '.join(map(str, table.columns[:12]))}."
    )
