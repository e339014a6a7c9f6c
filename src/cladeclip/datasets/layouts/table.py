"""Layout `table`: one row per picture, as GBIF and iDigBio export them."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.datasets.addresses import NOWHERE, cleaned, is_address, is_of_web, picture_path
from cladeclip.datasets.layouts.specs import WITHOUT_CATEGORY
from cladeclip.datasets.names import joined, says_nothing
from cladeclip.io.table_file import column_of, read_table_file
from cladeclip.ranks import HIGHER_RANKS

# Where no column is mapped, the first of these that the table has.
IMAGE_COLUMNS = ("image_path", "image", "path", "file_name", "filename", "fileNameAsDelivered", "file")
NAME_COLUMNS = ("scientificName", "scientific_name", "species")
EPITHET_COLUMNS = ("specificEpithet", "epithet")
# Pictures that share a value of one of these are of one specimen (or one burst of a camera trap); so are those of one
# catalogue number in the same collection.
SPECIMEN_COLUMNS = ("occurrenceID", "gbifID", "organismID", "burst_id", "sequence_id", "seq_id")
CATALOG_COLUMNS = ("catalogNumber", "institutionCode", "collectionCode")
# Where there is no column of paths: addresses, which `source: addresses` fetches.
ADDRESS_COLUMNS = ("address", "accessURI", "identifier", "image_url", "photo_url", "url")
# What stays with a picture: whose it is, what may be done with it, and where it was taken.
OTHERS = {
    "licence_as_written": ("licence_as_written", "license", "licence", "rights"),
    "rights_holder": ("rights_holder", "rightsHolder"),
    "creator": ("creator", "photographer"),
    "latitude": ("decimalLatitude", "latitude"),
    "longitude": ("decimalLongitude", "longitude"),
}
# All that is looked for, beside paths and addresses.
COLUMNS_READ = (
    *NAME_COLUMNS,
    "genus",
    *EPITHET_COLUMNS,
    "infraspecificEpithet",
    "taxonRank",
    *SPECIMEN_COLUMNS,
    *CATALOG_COLUMNS,
    "category",
    *HIGHER_RANKS,
    *(name for names in OTHERS.values() for name in names),
)


def read(root: str | Path, listing: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """See `read_listed`; the listing is not looked at."""
    return from_table(root, **settings)


def from_table(root: str | Path, *, file: str, columns: Mapping[str, str]) -> pd.DataFrame:
    """A table with an image path a row, as GBIF and iDigBio export them; see `read_table_file`.

    A genus and an epithet in separate columns are joined; so are a genus and a name that is only an epithet.

    Args:
        file: the table, below `root`.
        columns: for each field, its column, where that is not called by the Darwin Core term.
    """
    path = Path(root, file)
    return from_frame(path, read_table_file(path), columns)


def from_frame(
    path: Path, table: pd.DataFrame, columns: Mapping[str, str], key: str = "dataset.table.columns"
) -> pd.DataFrame:
    """As `from_table`, of a table that was read.

    Args:
        key: the config's key that holds `columns`, for error messages.
    """

    def of(name: str, usual: tuple[str, ...], needed: bool = False) -> pd.Series | None:
        column = column_of(path, table, columns, name, usual, key, needed=needed)
        return None if column is None else table[column] if name == "scientific_name" else table[column].str.strip()

    addresses = _addresses(of("address", ADDRESS_COLUMNS))
    # Whoever names the column of addresses wants those, whatever else the table has.
    images = of("image", () if "address" in columns else IMAGE_COLUMNS, needed=addresses is None)
    if images is None and addresses is not None:
        images = pd.Series(
            [picture_path(address) if address else f"{NOWHERE}row {row + 1}" for row, address in addresses.items()],
            index=table.index,
        )
    genus, epithet = of("genus", ("genus",)), of("epithet", EPITHET_COLUMNS)
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
    listed |= {"address": addresses} | {name: of(name, usual) for name, usual in OTHERS.items()}
    frame = pd.DataFrame({name: values for name, values in listed.items() if values is not None})
    frame["image_id"] = [str(PurePosixPath(image.replace("\\", "/"))) for image in frame["image_id"]]
    if "category" not in frame:
        frame["category"] = frame.get("class", WITHOUT_CATEGORY)
    frame["category"] = frame["category"].replace("", WITHOUT_CATEGORY)
    return frame


def _addresses(values: pd.Series | None) -> pd.Series | None:
    """Those values that are addresses, empty for the others; None where there are none."""
    if values is None:
        return None
    addresses = values.map(cleaned)
    return addresses.where(addresses.map(is_address), "") if addresses.map(is_of_web).any() else None


def _specimens(of: Callable[[str, tuple[str, ...]], pd.Series | None]) -> pd.Series | None:
    """For every row, a tuple of its specimen's identifiers; None where there is no such column."""
    parts = [of(name, (name,)) for name in CATALOG_COLUMNS]
    columns = [of("specimen", ()), *(of(name, (name,)) for name in SPECIMEN_COLUMNS)]
    if parts[0] is not None:
        # Catalogue numbers are unique only within a collection.
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
