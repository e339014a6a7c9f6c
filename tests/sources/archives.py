"""Darwin Core archives as GBIF, iDigBio and museums write them, for tests."""

import zipfile
from html import escape
from pathlib import Path

DWC, DC = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/"
AC = "http://rs.tdwg.org/ac/terms/"
MULTIMEDIA, AUDUBON = "http://rs.gbif.org/terms/1.0/Multimedia", f"{AC}Multimedia"
# The vocabulary of each term that the tests use.
URIS = {
    **{name: DC + name for name in ("type", "format", "identifier", "license", "rightsHolder", "creator", "rights")},
    **{name: AC + name for name in ("accessURI", "variant")},
    "UsageTerms": "http://ns.adobe.com/xap/1.0/rights/UsageTerms",
}


def meta(core, extensions, *, kind="Occurrence", enclosed="", separator="\\t", encoding="UTF-8", header=1):
    """meta.xml for columns (names of terms; the first is the id) by file name, and row types of the extensions."""

    def section(tag, row_type, file, columns, key):
        fields = "".join(
            f'<field index="{index}" term="{URIS.get(name, DWC + name)}"/>'
            for index, name in enumerate(columns)
            if name not in ("id", "coreid")
        )
        return (
            f'<{tag} encoding="{encoding}" fieldsTerminatedBy="{separator}" linesTerminatedBy="\\n" '
            f'fieldsEnclosedBy="{escape(enclosed)}" ignoreHeaderLines="{header}" rowType="{row_type}">'
            f'<files><location>{file}</location></files><{key} index="0"/>{fields}</{tag}>'
        )

    body = section("core", DWC + kind, *core, "id")
    body += "".join(section("extension", row_type, file, columns, "coreid") for row_type, file, columns in extensions)
    return f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="metadata.xml">{body}</archive>'


def lines(columns, rows, separator="\t"):
    return "\n".join(separator.join(row) for row in [columns, *rows]) + "\n"


def write(path: Path, files: dict[str, str | bytes], inside: str = "") -> Path:
    """A zip file, or a folder where the path has no suffix."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(inside + name, content)
        return path
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


CORE = [
    "gbifID",
    "occurrenceID",
    "scientificName",
    "taxonRank",
    "genus",
    "family",
    "class",
    "decimalLatitude",
    "decimalLongitude",
    "license",
    "rightsHolder",
    "type",
]
MEDIA = ["gbifID", "type", "format", "identifier", "creator", "license", "rightsHolder"]


def gbif(path: Path, occurrences, media, inside: str = "") -> Path:
    """An archive as GBIF gives it out: rows of CORE and of MEDIA."""
    core = ("occurrence.txt", CORE)
    files = {
        "meta.xml": meta(core, [(MULTIMEDIA, "multimedia.txt", MEDIA)]),
        "occurrence.txt": lines(CORE, occurrences),
        "multimedia.txt": lines(MEDIA, media),
        "metadata.xml": "<eml/>",
        "verbatim.txt": "not read\n",
    }
    return write(path, files, inside)
