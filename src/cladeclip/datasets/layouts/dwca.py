"""Layout `dwca`: a Darwin Core archive, as GBIF, iDigBio and the publishing tool of a museum (IPT) give it out.

An archive is a zip file or folder with meta.xml, which says what the columns of its tables are: the core, an occurrence a
row, and extensions, whose rows name theirs of the core. Pictures are rows of Simple Multimedia (GBIF) or Audubon Core.
Source: https://dwc.tdwg.org/text/
"""

import csv
import io
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pandas as pd
from dwca.descriptors import ArchiveDescriptor, DataFileDescriptor
from dwca.exceptions import InvalidArchive

from cladeclip.datasets.addresses import file_name, host_of, is_address, picture_path
from cladeclip.datasets.layouts.table import COLUMNS_READ, from_frame
from cladeclip.datasets.licences import licence_of
from cladeclip.datasets.naming import some
from cladeclip.datasets.pictures import SUFFIXES
from cladeclip.errors import DataError, first_line
from cladeclip.io.table_file import term

META = "meta.xml"
# Cores that name what is seen in their pictures.
CORES = ("occurrence", "taxon")
# Row types of extensions with media, and the terms that may hold a file's address, the first that a row has a value of.
MEDIA = {
    "http://rs.gbif.org/terms/1.0/Multimedia": ("identifier",),
    "http://rs.gbif.org/terms/1.0/Image": ("identifier",),
    "http://rs.tdwg.org/ac/terms/Multimedia": ("accessuri", "identifier"),
}
# What is read of a medium beside its address: the terms, the first that a row has a value of.
OF_MEDIA = {
    "type": ("type",),
    "format": ("format",),
    "medium": ("identifier", "provideridentifier"),
    "variant": ("variant", "variantliteral"),
    "licence_as_written": ("license", "usageterms", "rights", "accessrights"),
    "rights_holder": ("rightsholder", "owner"),
    "creator": ("creator", "photographer"),
}
# Audubon Core lists several files of one medium: the first of these that it has is taken.
VARIANTS = ("bestquality", "goodquality", "mediumquality", "", "lowerquality", "thumbnail")
OF_OCCURRENCES = {"licence_as_written": ("license", "rights"), "rights_holder": ("rightsholder",)}


@dataclass(frozen=True)
class Archive:
    """What an archive holds, as text, empty where there is nothing.

    Attributes:
        path: of the zip file or folder.
        core: a column a term (in lower case, its last part), and `id`.
        media: coreid, address, type, format, licence_as_written, rights_holder and creator of every file of the media
            extensions, else of associatedMedia in the core; without smaller variants of the same medium.
    """

    path: Path
    core: pd.DataFrame
    media: pd.DataFrame

    def pictures(self) -> pd.DataFrame:
        """Media that are still images: by their type, or, where that is blank, by their format or address."""
        shown = [_is_picture(*row) for row in self.media[["type", "format", "address"]].itertuples(index=False)]
        return self.media[shown]


def read(root: str | Path, listing: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """See `read_listed`: a row a picture, with its address, licence, rights holder and creator, and the coordinates."""
    archive = read_archive(Path(root, settings["archive"]), settings["columns"].values())
    return from_archive(archive, listing["path"], settings["columns"])


def from_archive(archive: Archive, paths: "pd.Series[str]", columns: Mapping[str, str]) -> pd.DataFrame:
    """The pictures of an archive: those that lie below the root, and those to be fetched to it.

    Args:
        paths: the files below the root. A picture that lies there by its path, or alone under the last part of its
            address, is taken from there.
        columns: for each field of names and specimens, the term that holds it, where that is not the usual one.
    """
    pictures = archive.pictures()
    if pictures.empty:
        raise DataError(
            f"{archive.path}: no still image is among its {len(archive.media):,} media; nothing can be read."
        )
    core = archive.core.drop(columns=[name for name in pictures.columns if name in archive.core and name != "id"])
    # Rows without an occurrence have no name, and are rejected for that.
    table = pictures.merge(core, how="left", left_on="coreid", right_on="id", validate="many_to_one").fillna("")
    place = _places(paths)
    table["image"] = [
        place(address) if address else f"no address: file {number + 1} of {coreid}"
        for number, (coreid, address) in enumerate(zip(table["coreid"], table["address"], strict=True))
    ]
    return from_frame(archive.path, table, {"image": "image", "specimen": "id", **columns}, key="dataset.dwca.columns")


def _places(paths: "pd.Series[str]") -> Callable[[str], str]:
    """Where the picture of an address lies: see `from_archive`."""
    there = set(paths)
    names = pd.Series([PurePosixPath(path).name for path in there], index=list(there), dtype=object)
    alone = {name: path for path, name in names.drop_duplicates(keep=False).items()}

    def place(address: str) -> str:
        if not is_address(address):
            return address.removeprefix("file://").removeprefix("./")
        fetched = picture_path(address)
        return fetched if fetched in there else alone.get(file_name(address), fetched)

    return place


def read_archive(path: Path, also: Iterable[str] = ()) -> Archive:
    """Reads the tables of an archive; nothing is unpacked on disk.

    Args:
        also: terms of the core that are read beside the usual ones.

    Raises:
        DataError: there is none, or its tables are not what its meta.xml says.
    """
    try:
        with _opened(path) as files:
            descriptor = ArchiveDescriptor(_meta(files))
            core = _core(path, files, descriptor.core, WANTED | set(map(term, also)))
            media = [
                _media(_table(files, extension, WANTED), MEDIA[extension.type])
                for extension in descriptor.extensions
                if extension.type in MEDIA
            ]
    except KeyError as error:
        raise DataError(f"{path}: has no {first_line(error)}, without which it is no Darwin Core archive.") from error
    except (OSError, ValueError, AttributeError, TypeError, InvalidArchive, ET.ParseError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a Darwin Core archive ({first_line(error)}).") from error
    found = pd.concat(media, ignore_index=True) if media else _associated(core)
    return Archive(path, core, _as_of_occurrences(_largest(found), core))


def is_archive(path: Path) -> bool:
    """Whether a zip file or folder holds meta.xml."""
    if path.is_dir():
        return (path / META).is_file()
    if path.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as packed:
            return _inside(packed.namelist(), META) is not None
    except (OSError, zipfile.BadZipFile):
        return False


@dataclass
class _Files:
    """The files of a folder or zip file, by their name below meta.xml."""

    folder: Path | None
    packed: zipfile.ZipFile | None

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        if self.packed:
            self.packed.close()

    def open(self, name: str) -> IO[bytes]:
        """Raises KeyError where there is no such file."""
        if self.packed:
            # Some archives have their files in a folder.
            inside = _inside(self.packed.namelist(), name)
            if inside is None:
                raise KeyError(name)
            return self.packed.open(inside)
        assert self.folder is not None
        if not (self.folder / name).is_file():
            raise KeyError(name)
        return (self.folder / name).open("rb")


def _inside(names: list[str], wanted: str) -> str | None:
    """The path in a zip file of a name beside meta.xml."""
    fitting = [name for name in names if name == wanted or name.endswith(f"/{wanted}")]
    return min(fitting, key=lambda name: name.count("/"), default=None)


def _opened(path: Path) -> _Files:
    if path.is_dir():
        return _Files(path, None)
    if not path.exists():
        raise DataError(f"{path}: there is no such archive; correct dataset.dwca.archive.")
    return _Files(None, zipfile.ZipFile(path))


def _meta(files: _Files) -> str:
    with files.open(META) as file:
        return file.read().decode("utf-8-sig")


def _core(path: Path, files: _Files, descriptor: DataFileDescriptor, wanted: Collection[str]) -> pd.DataFrame:
    kind = term(descriptor.type or "")
    if kind not in CORES:
        raise DataError(
            f"{path}: its rows are of {descriptor.type or 'no type'}, of which names are not read; ask for an archive "
            "whose core is occurrences."
        )
    core = _table(files, descriptor, wanted)
    if (twice := core.loc[core["id"].duplicated(), "id"]).size:
        raise DataError(f"{path}: two rows of its core have the id {twice.iloc[0]!r}, which must be one row's alone.")
    return core


def _table(files: _Files, descriptor: DataFileDescriptor, wanted: Collection[str]) -> pd.DataFrame:
    """The terms that are wanted of a table, which may lie in several files; a row a line, in their order."""
    # The same term in several columns (in several vocabularies): the first.
    columns: dict[str, int] = {}
    defaults: dict[str, str] = {}
    for field in descriptor.fields:
        name = term(field["term"])
        if name not in wanted:
            continue
        if field["index"] is not None:
            columns.setdefault(name, field["index"])
        if field["default"]:
            defaults[name] = field["default"]
    for key, index in (("id", descriptor.id_index), ("coreid", descriptor.coreid_index)):
        if index is not None:
            columns[key] = index
    enclosed = descriptor.fields_enclosed_by
    indices = sorted(set(columns.values()))
    tables = []
    for location in descriptor.raw_element.findall("./files/location"):
        with files.open(str(location.text).strip()) as file:
            tables.append(
                pd.read_csv(
                    io.TextIOWrapper(file, encoding=descriptor.file_encoding or "utf-8", newline=""),
                    sep=descriptor.fields_terminated_by,
                    quoting=csv.QUOTE_MINIMAL if enclosed else csv.QUOTE_NONE,
                    quotechar=enclosed or '"',
                    header=None,
                    skiprows=descriptor.lines_to_ignore,
                    usecols=indices,
                    dtype=str,
                    keep_default_na=False,
                ).fillna("")
            )
    whole = pd.concat(tables, ignore_index=True)
    table = pd.DataFrame({name: whole[index].str.strip() for name, index in columns.items()})
    for name, value in defaults.items():
        table[name] = table[name].replace("", value) if name in table else value
    return table


def _media(table: pd.DataFrame, addresses: tuple[str, ...]) -> pd.DataFrame:
    found = {"coreid": table["coreid"], "address": _first(table, addresses)}
    return pd.DataFrame(found | {name: _first(table, terms) for name, terms in OF_MEDIA.items()})


def _associated(core: pd.DataFrame) -> pd.DataFrame:
    """Addresses in the core's associatedMedia, which are separated by bars, or by commas or semicolons and a blank."""
    rows = []
    for coreid, text in zip(core["id"], core.get("associatedmedia", [""] * len(core)), strict=True):
        for address in pd.Series(text).str.split(r"\s*\|\s*|[,;]\s+", regex=True).iloc[0] if text else ():
            rows.append((coreid, address.strip()))
    found = pd.DataFrame(rows, columns=["coreid", "address"], dtype=str)
    return found[found["address"] != ""].assign(**dict.fromkeys(OF_MEDIA, "")).reset_index(drop=True)


def _largest(media: pd.DataFrame) -> pd.DataFrame:
    """Without further variants of a medium than its largest, in the order that they are listed in."""
    order = {variant: place for place, variant in enumerate(VARIANTS)}
    said = media["variant"].map(lambda text: order.get(re.sub(r"[^a-z]", "", term(text)), order[""]))
    several = (media["medium"] != "") & (media["variant"] != "")
    medium = media["medium"].where(several, [f"\0{number}" for number in range(len(media))])
    first = said.groupby([media["coreid"], medium]).idxmin()
    return media.loc[sorted(first)].drop(columns=["medium", "variant"]).reset_index(drop=True)


def _as_of_occurrences(media: pd.DataFrame, core: pd.DataFrame) -> pd.DataFrame:
    """What a medium does not say of its licence and holder is as its occurrence says."""
    of_core = core.set_index("id").reindex(media["coreid"]).fillna("").reset_index(drop=True)
    for name, terms in OF_OCCURRENCES.items():
        media[name] = media[name].where(media[name] != "", _first(of_core, terms))
    return media


def _first(table: pd.DataFrame, terms: tuple[str, ...]) -> "pd.Series[str]":
    """The value of the first of these terms that a row has one of; empty where it has none."""
    found = pd.Series("", index=table.index, dtype=str)
    for name in terms:
        if name in table:
            found = found.where(found != "", table[name])
    return found


def _is_picture(kind: str, form: str, address: str) -> bool:
    if kind:
        return term(kind).replace(" ", "") in ("stillimage", "image")
    if form:
        return form.lower().startswith("image") or f".{form.lower()}" in SUFFIXES
    suffix = PurePosixPath(file_name(address) if is_address(address) else address).suffix.lower()
    return not suffix or suffix in SUFFIXES or is_address(address)


def describe(archive: Archive) -> list[str]:
    """What an archive holds, in lines for the terminal: media by type, licence and host, and names without pictures."""
    pictures = archive.pictures()
    without = ~archive.core["id"].isin(pictures["coreid"])
    unnamed = ~pictures["coreid"].isin(archive.core["id"])
    kinds = archive.media["type"].replace("", "no type given")
    licences = pictures["licence_as_written"].map(licence_of)
    hosts = pictures.loc[pictures["address"].map(is_address), "address"].map(host_of)
    lines = [f"  {len(archive.core):,} occurrences, {int(without.sum()):,} of them without a picture"]
    if "scientificname" in archive.core:
        names = archive.core["scientificname"]
        bare = set(names) - set(names[~without]) - {""}
        lines[0] += f"; {len(bare):,} names have none" + (f": {some(sorted(bare), 3)}" if bare else "")
    if len(archive.media):
        lines.append(f"  {len(archive.media):,} media by type: {_counted(kinds)}")
        lines.append(f"  pictures by licence: {_counted(licences)}")
    if len(hosts):
        lines.append(f"  pictures by host: {_counted(hosts)}")
    if unnamed.any():
        lines.append(f"  {int(unnamed.sum()):,} pictures of occurrences that the core does not have (left out)")
    if blank := int((pictures["address"] == "").sum()):
        lines.append(f"  {blank:,} pictures without an address (left out)")
    return lines


def _counted(values: "pd.Series[str]", most: int = 6) -> str:
    counts = values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    shown = ", ".join(f"{value} {n:,}" for value, n in counts.head(most).items())
    return shown + (f" and {len(counts) - most} more" if len(counts) > most else "")


# Terms, in lower case, that are read of any table.
WANTED = frozenset(map(str.lower, ("associatedMedia", *COLUMNS_READ))) | {
    name for terms in (*MEDIA.values(), *OF_MEDIA.values(), *OF_OCCURRENCES.values()) for name in terms
}
