"""Layouts of pictures on disk: what the config knows of each, without importing any library.

A layout is a module with one function, and a `Layout` in LAYOUTS, or in another package's entry point of the group
`cladeclip.layouts`:

    read(root, listing, settings) -> DataFrame    the listed pictures; `listing` is the table of the files below the folder
                                                  `root`, `settings` what the config says under `dataset:` and its name

The rows have image_id (the path below the root, POSIX form), category and scientific_name as written (empty where blank),
and whatever the data has of genus, taxon_rank (what its own rank column says of the name), specimen (identifiers, a tuple),
HIGHER_RANKS, address (of the web, which `source: addresses` fetches the picture from), licence_as_written, rights_holder,
creator, latitude and longitude.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cladeclip.config.described import key
from cladeclip.config.values import ONCE, Column, Text
from cladeclip.datasets.licences import licence_of
from cladeclip.registry import Entry, named

if TYPE_CHECKING:
    import pandas as pd

WITHOUT_CATEGORY = "Specimens"


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No settings."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Of layout `table`."""

    file: Text = key(
        "CSV, tab-separated or Parquet, from root on, with paths or addresses of pictures and Darwin Core's columns",
        "metadata.csv",
    )
    columns: dict[Column, Text] = key(
        "image, address, scientific_name, genus, epithet, taxon_rank, specimen, category, family, ...: the column that "
        "holds it, where it is not called by its Darwin Core term",
        {},
    )


@dataclass(frozen=True, kw_only=True)
class Dwca:
    """Of layout `dwca`."""

    archive: Text = key("the zip file or folder with meta.xml, from root on", "archive.zip")
    columns: dict[Column, Text] = key(
        "scientific_name, specimen, ...: the term that holds it, where it is another (acceptedScientificName, say)", {}
    )


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Of layout `folders`."""

    ranks: Annotated[list[Literal["category", "kingdom", "phylum", "class", "order", "family", "genus"]], ONCE] = key(
        "what the folders around a species folder are, from the outermost: category, class, order, family, genus", []
    )


@dataclass(frozen=True)
class Layout(Entry):
    """One layout.

    Attributes:
        name: as `dataset.layout` has it, and the section of `dataset:` with its settings.
        module: where its function is.
        words: what it is.
        settings: described; see config/described.py.
        file: the setting that names the file or folder with its metadata; empty where that is always below the root.
    """

    settings: type = Nothing
    file: str = ""


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("vlm4bio", "cladeclip.datasets.layouts.vlm4bio", "CATEGORY/images/ and CATEGORY/metadata/*.csv"),
        Layout("table", "cladeclip.datasets.layouts.table", "a table with a row a picture", Table, "file"),
        Layout("folders", "cladeclip.datasets.layouts.folders", "one folder a species", Folders),
        Layout("dwca", "cladeclip.datasets.layouts.dwca", "a Darwin Core archive, of GBIF or iDigBio", Dwca, "archive"),
    )
}


def layout_named(name: str, word: str = "layout") -> Layout:
    """Of LAYOUTS, or of an installed package.

    Raises:
        ConfigError: there is none.
    """
    return named(word, name, LAYOUTS, "cladeclip.layouts")


def metadata_files(dataset: Mapping[str, Any]) -> list[str]:
    """Files that the layout reads and that are in no listing of the dataset's folder, or not before pictures are fetched: an
    archive, unpacked or not, or a table."""
    layout, root = layout_named(dataset["layout"]), Path(dataset["root"])
    if not layout.file:
        return []
    path = Path(root, dataset[layout.name][layout.file])
    if dataset["source"] != "addresses" and path.is_relative_to(root) and ".." not in path.parts:
        return []
    return sorted(str(file) for file in path.glob("[!.]*") if file.is_file()) if path.is_dir() else [str(path)]


def read_listed(root: str | Path, listing: "pd.DataFrame", dataset: Mapping[str, Any]) -> "pd.DataFrame":
    """The listed pictures of the layout that `dataset` (the config's `dataset:`) names, with their licence in a word.

    Raises:
        ConfigError, DataError: the metadata is not what the layout needs; the message names the file or the key.
    """
    layout = layout_named(dataset["layout"])
    found: pd.DataFrame = layout.code().read(root, listing, dataset.get(layout.name, {}))
    if "licence_as_written" in found:
        found["licence"] = found["licence_as_written"].map(licence_of)
    return found
