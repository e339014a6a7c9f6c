"""How people keep their pictures: which are listed, and what they are called.

Every layout gives a table with image_id (the path below the dataset's root, POSIX form), category and scientific_name as
written (empty where blank), and whatever the data has of genus, taxon_rank (what its own rank column says of the name),
specimen (identifiers, a tuple) and HIGHER_RANKS.
"""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.datasets import vlm4bio
from cladeclip.datasets.names import higher_ranks_in, joined, says_nothing
from cladeclip.datasets.pictures import may_be_picture
from cladeclip.datasets.table_file import column_of, read_table_file
from cladeclip.errors import ConfigError, DataError
from cladeclip.ranks import HIGHER_RANKS

# Where no column is mapped, the first of these that the table has.
IMAGE_COLUMNS = ("image_path", "image", "path", "file_name", "filename", "fileNameAsDelivered", "file")
NAME_COLUMNS = ("scientificName", "scientific_name", "species")
EPITHET_COLUMNS = ("specificEpithet", "epithet")
# Pictures that share a value of one of these are of one specimen (or one burst of a camera trap); so are those of one
# catalogue number in the same collection.
SPECIMEN_COLUMNS = ("occurrenceID", "gbifID", "organismID", "burst_id", "sequence_id", "seq_id")
CATALOG_COLUMNS = ("catalogNumber", "institutionCode", "collectionCode")
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
    """A table with an image path a row, as GBIF and iDigBio export them; see `read_table_file`.

    Where there are a genus and an epithet in columns of their own, they are joined; so is an epithet that stands alone where
    the name should.

    Args:
        file: the table, below `root`.
        columns: for what the table has, the column that holds it where it is not called by its Darwin Core term.
    """
    path = Path(root, file)
    return from_frame(path, read_table_file(path), columns)


def from_frame(path: Path, table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """As `from_table`, of a table that was read."""

    def of(name: str, usual: tuple[str, ...], needed: bool = False) -> pd.Series | None:
        column = column_of(path, table, columns, name, usual, needed=needed)
        return None if column is None else table[column] if name == "scientific_name" else table[column].str.strip()

    images, genus, epithet = of("image", IMAGE_COLUMNS, True), of("genus", ("genus",)), of("epithet", EPITHET_COLUMNS)
    names = of("scientific_name", NAME_COLUMNS, genus is None or epithet is None)
    if genus is not None and epithet is not None:
        below = of("infraspecific_epithet", ("infraspecificEpithet",))
        whole = genus + " " + epithet + ("" if below is None else " " + below)
        whole = whole.where(epithet != "", "").str.strip()
        names = whole if names is None else names.where(names != "", whole)
    if genus is not None and names is not None:
        names = pd.Series(list(map(joined, genus, names)), index=genus.index)
    listed = {"image_id": images, "scientific_name": names, "genus": genus, "specimen": _specimens(of)}
    listed["taxon_rank"] = of("taxon_rank", ("taxonRank",))
    listed |= {rank: of(rank, (rank,)) for rank in ("category", *HIGHER_RANKS)}
    frame = pd.DataFrame({name: values for name, values in listed.items() if values is not None})
    frame["image_id"] = [str(PurePosixPath(image.replace("\\", "/"))) for image in frame["image_id"]]
    if "category" not in frame:
        frame["category"] = frame.get("class", WITHOUT_CATEGORY)
    frame["category"] = frame["category"].replace("", WITHOUT_CATEGORY)
    return frame


def _specimens(of: Callable[[str, tuple[str, ...]], pd.Series | None]) -> pd.Series | None:
    """For every row the identifiers (a tuple) by which pictures are of one specimen; None where there is no such column."""
    parts = [of(name, (name,)) for name in CATALOG_COLUMNS]
    columns = [of("specimen", ()), *(of(name, (name,)) for name in SPECIMEN_COLUMNS)]
    if parts[0] is not None:
        # A catalogue number alone is given anew in every collection.
        known = [part for part in parts if part is not None]
        columns.append(pd.Series(map(" ".join, zip(*known, strict=True))).where(~known[0].map(says_nothing), ""))
    named = [(place, column) for place, column in enumerate(columns) if column is not None]
    if not named:
        return None
    rows = zip(*(column for _, column in named), strict=True)
    of_row = [
        tuple(f"{place} {value}" for (place, _), value in zip(named, values, strict=True) if not says_nothing(value))
        for values in rows
    ]
    return pd.Series(of_row, index=named[0][1].index)


def from_folders(listing: pd.DataFrame, *, ranks: list[str]) -> pd.DataFrame:
    """One folder a species, named after it (`Lepomis_gulosus`, `Lepomis gulosus`, or `gulosus` in a folder of its genus).

    Folders around it are higher ranks; names of iNaturalist's folders have them in themselves.

    Args:
        listing: the `listing` table: every picture file that lies in a folder is listed.
        ranks: what the folders around the species folder are, from the outermost (of HIGHER_RANKS,
            `category` or `genus`). Where the outermost is not `category`, it is the category as well.
    """
    rows = []
    for path in map(PurePosixPath, listing["path"]):
        if not may_be_picture(path):
            continue
        *above, species = path.parts[:-1] or ("",)
        if len(above) < len(ranks):
            raise DataError(
                f"{path}: lies in {len(above)} folder(s) above its species folder, but dataset.folders.ranks names "
                f"{len(ranks)} ({', '.join(ranks)})."
            )
        around = dict(zip(ranks, above, strict=False))
        around = higher_ranks_in(species) | around
        category = around.pop("category", above[0] if above else around.get("class", WITHOUT_CATEGORY))
        name = joined(around.get("genus", ""), species)
        rows.append({"image_id": str(path), "category": category, "scientific_name": name, **around})
    if not rows:
        raise DataError(
            "layout folders: no picture lies in a folder; put each species' pictures into a folder of its own."
        )
    return pd.DataFrame(rows).fillna("")
