"""Layout `dwca`: a Darwin Core archive, as GBIF, iDigBio and the publishing tool of a museum (IPT) give it out.

An archive is a zip file or folder with meta.xml, which says what the columns of its tables are: the core, an occurrence a
row, and extensions, whose rows name theirs of the core. Pictures are rows of Simple Multimedia (GBIF) or Audubon Core.
Source: https://dwc.tdwg.org/text/
"""

import csv
import io
import logging
import mimetypes
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pandas as pd
from dwca.descriptors import ArchiveDescriptor, DataFileDescriptor
from dwca.exceptions import InvalidArchive

from cladeclip.datasets.addresses import (
    NOWHERE,
    cleaned,
    file_name,
    host_of,
    is_address,
    is_of_web,
    picture_path,
)
from cladeclip.datasets.layouts.table import COLUMNS_READ, from_frame
from cladeclip.datasets.licences import licence_of
from cladeclip.datasets.naming import some
from cladeclip.datasets.pictures import SUFFIXES
from cladeclip.errors import DataError, first_line
from cladeclip.io.table_file import term

logger = logging.getLogger(__name__)

META = "meta.xml"
# Where the files of an archive lie.
Folder = Path | zipfile.Path
# What the standard says of a table that does not say it itself; python-dwca-reader assumes otherwise.
DEFAULTS = {"encoding": "UTF-8", "fieldsTerminatedBy": ",", "fieldsEnclosedBy": '"', "linesTerminatedBy": "\\n"}
# Cores that name what is seen in their pictures.
CORES = ("occurrence", "taxon")
# Row types of extensions with media, and the terms that may hold a file's address, the first that a row has a value of.
MEDIA = {
    "http://rs.gbif.org/terms/1.0/Multimedia": ("identifier",),
    "http://rs.gbif.org/terms/1.0/Image": ("identifier",),
    "http://rs.tdwg.org/ac/terms/Multimedia": ("accessuri", "identifier"),
}
# What is read of a medium beside its address: the terms, the first that a row has a value of. The licence of an occurrence
# is that of its record, not of its pictures, and is not read.
OF_MEDIA = {
    "type": ("type",),
    "format": ("format",),
    "medium": ("identifier", "provideridentifier"),
    "variant": ("variant", "variantliteral"),
    "licence_as_written": ("license", "webstatement", "usageterms", "rights", "accessrights"),
    "rights_holder": ("rightsholder", "owner", "credit"),
    "creator": ("creator", "photographer"),
}
# Audubon Core lists several files of one medium: the best of these that it has is taken.
VARIANTS = ("bestquality", "goodquality", "mediumquality", "", "lowerquality", "thumbnail")
# Of the core what layout `table` knows, but for licences and holders.
OF_CORE = frozenset(map(str.lower, ("associatedMedia", *COLUMNS_READ))) - {
    *("licence_as_written", "license", "licence", "rights", "rights_holder", "rightsholder", "creator", "photographer"),
}
OF_EXTENSIONS = frozenset(name for terms in (*MEDIA.values(), *OF_MEDIA.values()) for name in terms)
# Beyond this a value is taken for what a missing quote swallowed.
LONGEST_VALUE = 10_000_000


@dataclass(frozen=True)
class Archive:
    """What an archive holds, as text, empty where there is nothing.

    Attributes:
        path: of the zip file or folder.
        core: a column a term (in lower case, its last part), and `id`.
        media: coreid, address, type, format, licence_as_written, rights_holder and creator of every file of the media
            extensions, and of associatedMedia of the occurrences that have none there.
        n_smaller: files that were left out since the same medium has a better variant.
    """

    path: Path
    core: pd.DataFrame
    media: pd.DataFrame
    n_smaller: int = 0

    @cached_property
    def pictures(self) -> pd.DataFrame:
        """Media that are still images: by their format or the suffix of their address, else by their type."""
        shown = [_is_picture(*row) for row in self.media[["type", "format", "address"]].itertuples(index=False)]
        return self.media[shown]


def read(root: str | Path, listing: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """See `read_listed`: a row a picture, with its address, licence, rights holder and creator, and the coordinates."""
    archive = read_archive(Path(root, settings["archive"]), settings["columns"].values())
    for line in describe(archive):
        logger.info("%s", line.strip())
    return from_archive(archive, listing["path"], settings["columns"])


def from_archive(archive: Archive, paths: "pd.Series[str]", columns: Mapping[str, str]) -> pd.DataFrame:
    """The pictures of an archive: those that lie below the root, and those to be fetched to it.

    Args:
        paths: the files below the root. A picture that lies there by its path, or under the last part of its address where
            no other file and no other address has that, is taken from there.
        columns: for each field of names and specimens, the term that holds it, where that is not the usual one.
    """
    pictures = archive.pictures
    if pictures.empty:
        raise DataError(
            f"{archive.path}: no still image is among its {len(archive.media):,} media; nothing can be read."
        )
    core = archive.core.drop(columns=[name for name in pictures.columns if name in archive.core and name != "id"])
    # Rows without an occurrence have no name, and are rejected for that.
    table = pictures.merge(core, how="left", left_on="coreid", right_on="id", validate="many_to_one").fillna("")
    place = _places(paths, table["address"])
    table["image"] = [
        place(address) if address else f"{NOWHERE}file {number + 1} of {coreid}"
        for number, (coreid, address) in enumerate(zip(table["coreid"], table["address"], strict=True))
    ]
    return from_frame(archive.path, table, {"image": "image", "specimen": "id", **columns}, key="dataset.dwca.columns")


def _places(paths: "pd.Series[str]", addresses: "pd.Series[str]") -> Callable[[str], str]:
    """Where the picture of an address lies: see `from_archive`."""
    there = set(paths)
    files = pd.Series([PurePosixPath(path).name for path in there], index=list(there), dtype=object)
    asked = pd.Series([file_name(address) for address in addresses.unique()], dtype=object)
    names = set(asked.drop_duplicates(keep=False))
    alone = {name: path for path, name in files.drop_duplicates(keep=False).items() if name in names}

    def place(address: str) -> str:
        if not is_address(address):
            return address.removeprefix("./")
        fetched = picture_path(address)
        # What stands behind a question mark makes another picture of the same name.
        return fetched if fetched in there or "?" in address else alone.get(file_name(address), fetched)

    return place


def read_archive(path: Path, also: Iterable[str] = ()) -> Archive:
    """Reads the tables of an archive; nothing is unpacked on disk.

    Args:
        also: terms of the core that are read beside the usual ones.

    Raises:
        DataError: there is none, or its tables are not what its meta.xml says.
    """
    try:
        with _opened(path) as folder:
            descriptor = ArchiveDescriptor(_meta(folder))
            core = _core(path, folder, descriptor.core, OF_CORE | set(map(term, also)))
            media = [
                _media(_table(folder, extension, OF_EXTENSIONS), MEDIA[extension.type])
                for extension in descriptor.extensions
                if extension.type in MEDIA
            ]
    except KeyError as error:
        raise DataError(f"{path}: has no {first_line(error)}, without which it is no Darwin Core archive.") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a Darwin Core archive ({first_line(error)}).") from error
    of_extensions = pd.concat([_nothing(), *media], ignore_index=True)
    elsewhere = _associated(core[~core["id"].isin(of_extensions["coreid"])])
    best = _best(pd.concat([of_extensions, elsewhere], ignore_index=True))
    return Archive(path, core, best, len(of_extensions) + len(elsewhere) - len(best))


# What reading a file raises that is no archive, or a damaged one.
UNREADABLE = (
    *(OSError, ValueError, AttributeError, TypeError, LookupError, RuntimeError, EOFError),
    *(InvalidArchive, ET.ParseError, zipfile.BadZipFile, zlib.error, csv.Error),
)


def is_archive(path: Path) -> bool:
    """Whether a zip file or folder holds meta.xml."""
    if path.is_file() and path.suffix.lower() != ".zip":
        return False
    try:
        with _opened(path) as folder:
            return (folder / META).is_file()
    except (OSError, zipfile.BadZipFile, DataError):
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Folder]:
    """The folder of meta.xml: `path`, or one in a zip file, the outermost that has it."""
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise DataError(f"{path}: there is no such archive; correct dataset.dwca.archive.")
    with zipfile.ZipFile(path) as packed:
        found = [name for name in packed.namelist() if PurePosixPath(name).name == META]
        outermost = min(found, key=lambda name: name.count("/"), default=META)
        yield zipfile.Path(packed, at=outermost.removesuffix(META))


def _file(folder: Folder, name: str) -> IO[bytes]:
    """A file beside meta.xml, open. Raises KeyError where there is none."""
    name = str(PurePosixPath(name.strip().replace("\\", "/")))
    if not (folder / name).is_file():
        raise KeyError(name)
    return (folder / name).open("rb")


def _meta(folder: Folder) -> str:
    """meta.xml as python-dwca-reader takes it: without namespaces, and with what the standard assumes."""
    with _file(folder, META) as file:
        root = ET.fromstring(file.read())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if element.tag == "coreId":
            element.tag = "coreid"
        if element.tag in ("core", "extension"):
            element.attrib = DEFAULTS | element.attrib
    return ET.tostring(root, encoding="unicode")


def _core(path: Path, folder: Folder, descriptor: DataFileDescriptor, wanted: Collection[str]) -> pd.DataFrame:
    kind = term(descriptor.type or "")
    if kind not in CORES:
        raise DataError(
            f"{path}: its rows are of {descriptor.type or 'no type'}, of which names are not read; ask for an archive "
            "whose core is occurrences."
        )
    core = _table(folder, descriptor, wanted)
    if (twice := core.loc[core["id"].duplicated(), "id"]).size:
        raise DataError(f"{path}: two rows of its core have the id {twice.iloc[0]!r}, which must be one row's alone.")
    return core


def _table(folder: Folder, descriptor: DataFileDescriptor, wanted: Collection[str]) -> pd.DataFrame:
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
    keys = {"id": descriptor.id_index, "coreid": descriptor.coreid_index}
    columns |= {key: index for key, index in keys.items() if index is not None}
    width = 1 + max([*columns.values(), *(field["index"] or 0 for field in descriptor.fields)])
    rows: list[tuple[str, ...]] = []
    for location in descriptor.raw_element.findall("./files/location"):
        with _file(folder, str(location.text)) as file:
            for row in _rows(file, descriptor, width, str(location.text)):
                rows.append(tuple(row[index].strip() for index in columns.values()))
    table = pd.DataFrame(rows, columns=list(columns), dtype=str)
    for name, value in defaults.items():
        table[name] = table[name].replace("", value) if name in table else value
    return table


def _rows(file: IO[bytes], descriptor: DataFileDescriptor, width: int, name: str) -> Iterator[list[str]]:
    """The values of each row below the header, as many as there are columns.

    Raises:
        ValueError: a row has more values than that, or a value runs over lines where an id or a name stands.
    """
    separator, quote = descriptor.fields_terminated_by, descriptor.fields_enclosed_by
    # A line ends with a line feed alone: a carriage return in a value is part of it.
    lines = io.TextIOWrapper(file, encoding=descriptor.file_encoding, newline="" if quote else "\n")
    if quote:
        csv.field_size_limit(LONGEST_VALUE)
        found: Iterable[list[str]] = csv.reader(lines, delimiter=separator, quotechar=quote)
    else:
        found = (line.rstrip("\r\n").split(separator) for line in lines)
    for number, row in enumerate(found):
        if number == 0 and row:
            row[0] = row[0].removeprefix("\ufeff")
        if number < descriptor.lines_to_ignore:
            width = max(width, len(row))  # columns that meta.xml does not name
            continue
        if row in ([], [""]):
            continue
        if len(row) > width and any(row[width:]):
            raise ValueError(f"row {number + 1} of {name} has {len(row)} values, and meta.xml {width} columns")
        if quote and any("\n" in row[index] for index in (descriptor.id_index, descriptor.coreid_index) if index):
            raise ValueError(f"row {number + 1} of {name}: an id runs over lines; a quote is not closed before it")
        yield row + [""] * (width - len(row))


def _nothing() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=str) for name in ("coreid", "address", *OF_MEDIA)})


def _media(table: pd.DataFrame, addresses: tuple[str, ...]) -> pd.DataFrame:
    found = {"coreid": table["coreid"], "address": _first(table, addresses).map(cleaned)}
    return pd.DataFrame(found | {name: _first(table, terms) for name, terms in OF_MEDIA.items()})


def _associated(core: pd.DataFrame) -> pd.DataFrame:
    """What associatedMedia lists: separated by bars, or by whatever stands before the next address."""
    rows = [
        (coreid, cleaned(one))
        for coreid, text in zip(core["id"], core.get("associatedmedia", [""] * len(core)), strict=True)
        for one in re.split(r"\s*\|\s*|[,;\s]+(?=https?://)", text.strip())
        if one.strip(" ,;")
    ]
    return pd.concat([_nothing(), pd.DataFrame(rows, columns=["coreid", "address"], dtype=str)]).fillna("")


def _best(media: pd.DataFrame) -> pd.DataFrame:
    """Without files of which the same medium has a better variant, in the order that they are listed in."""
    order = {variant: place for place, variant in enumerate(VARIANTS)}
    said = media["variant"].map(lambda text: order.get(re.sub(r"[^a-z]", "", term(text)), order[""])).astype(int)
    several = (media["medium"] != "") & (media["variant"] != "")
    best = said.groupby([media["coreid"], media["medium"]]).transform("min")
    return media[~several | (said == best)].drop(columns=["medium", "variant"]).reset_index(drop=True)


def _first(table: pd.DataFrame, terms: tuple[str, ...]) -> "pd.Series[str]":
    """The value of the first of these terms that a row has one of; empty where it has none."""
    found = pd.Series("", index=table.index, dtype=str)
    for name in terms:
        if name in table:
            found = found.where(found != "", table[name])
    return found


def _is_picture(kind: str, form: str, address: str) -> bool:
    kind, form = re.sub(r"[^a-z]", "", term(kind)), form.strip().lower()
    suffix = PurePosixPath(file_name(address) if is_address(address) else address).suffix.lower()
    guessed = mimetypes.types_map.get(suffix, "")
    if re.match("sound|audio|video|moving|movie|text|dataset", kind) or form.startswith(("audio", "video", "text")):
        return False
    if form.startswith("image") or f".{form}" in SUFFIXES or suffix in SUFFIXES:
        return True
    if re.match("still|image|photo|picture", kind):
        return True
    # Nothing is said: an address without a suffix, or with that of a program, may well be a picture.
    return not kind and not form and not guessed.startswith(("audio", "video", "application/pdf"))


def describe(archive: Archive) -> list[str]:
    """What an archive holds, in lines for the terminal: media by type, licence and host, and names without pictures."""
    pictures = archive.pictures
    without = ~archive.core["id"].isin(pictures["coreid"])
    unnamed = ~pictures["coreid"].isin(archive.core["id"])
    kinds = archive.media["type"].replace("", "no type given")
    lines = [f"  {len(archive.core):,} occurrences, {int(without.sum()):,} of them without a picture"]
    if "scientificname" in archive.core:
        names = archive.core["scientificname"]
        bare = set(names) - set(names[~without]) - {""}
        lines[0] += f"; {len(bare):,} names have none" + (f": {some(sorted(bare), 3)}" if bare else "")
    if len(archive.media):
        lines.append(
            f"  {len(archive.media):,} media by type: {_counted(kinds)}; {len(pictures):,} of them are pictures"
        )
        lines.append(f"  pictures by licence: {_counted(pictures['licence_as_written'].map(licence_of))}")
    if len(hosts := pictures.loc[pictures["address"].map(is_of_web), "address"].map(host_of)):
        lines.append(f"  pictures by host: {_counted(hosts)}")
    if archive.n_smaller:
        lines.append(f"  {archive.n_smaller:,} files of which there is a better variant (left out)")
    if unnamed.any():
        lines.append(f"  {int(unnamed.sum()):,} pictures of occurrences that the core does not have (left out)")
    if blank := int((pictures["address"] == "").sum()):
        lines.append(f"  {blank:,} pictures without an address (left out)")
    return lines


def _counted(values: "pd.Series[str]", most: int = 6) -> str:
    counts = values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    shown = ", ".join(f"{value} {n:,}" for value, n in counts.head(most).items())
    return shown + (f" and {len(counts) - most} more" if len(counts) > most else "")
