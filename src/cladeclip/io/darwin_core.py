"""Darwin Core archives, written: a table of occurrences with their pictures, as GBIF and museums read it.

Source: https://dwc.tdwg.org/text/
"""

import mimetypes
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from cladeclip.io.atomic import atomic_path

DWC, DC = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/"
MULTIMEDIA = "http://rs.gbif.org/terms/1.0/Multimedia"
# Of Dublin Core; all other terms that are written are Darwin Core's.
OF_DC = ("license", "type", "format", "identifier")
# Equal tables are equal bytes: the date that a zip file gives its parts is always this one.
DATE = (1980, 1, 1, 0, 0, 0)


def write_archive(path: str | Path, occurrences: pd.DataFrame, *, title: str, licence: str = "") -> None:
    """Writes a zip file of occurrences, each with one picture.

    Args:
        occurrences: a row each; occurrenceID, unique, is also the picture's path. The other columns are Darwin Core terms.
        title: of the archive.
        licence: of these identifications, by its address; blank where that is for others to say.
    """
    core = occurrences.assign(license=licence).astype(str)
    media = pd.DataFrame(
        {
            "coreid": core["occurrenceID"],
            "type": "StillImage",
            "format": [mimetypes.guess_type(name)[0] or "" for name in core["occurrenceID"]],
            "identifier": core["occurrenceID"],
        }
    )
    meta = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">\n'
        + _described("core", f"{DWC}Occurrence", "occurrence.txt", ["", *core.columns])
        + _described("extension", MULTIMEDIA, "multimedia.txt", list(media.columns))
        + "</archive>\n"
    )
    rights = f"<intellectualRights><para>{escape(licence)}</para></intellectualRights>" if licence else ""
    eml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<eml:eml xmlns:eml="eml://ecoinformatics.org/eml-2.1.1" packageId="cladeclip" system="cladeclip">\n'
        f"<dataset><title>{escape(title)}</title>{rights}</dataset>\n</eml:eml>\n"
    )
    parts = {
        "meta.xml": meta,
        "eml.xml": eml,
        "occurrence.txt": _lines(core.assign(id=core["occurrenceID"])[["id", *core.columns]]),
        "multimedia.txt": _lines(media),
    }
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for name, content in parts.items():
            packed.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)


def _described(tag: str, row_type: str, file: str, columns: list[str]) -> str:
    fields = "".join(
        f"<field index={quoteattr(str(place))} term={quoteattr((DC if name in OF_DC else DWC) + name)}/>"
        for place, name in enumerate(columns)
        if place > 0
    )
    key = "id" if tag == "core" else "coreid"
    return (
        f'<{tag} encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" '
        f'ignoreHeaderLines="1" rowType={quoteattr(row_type)}><files><location>{file}</location></files>'
        f'<{key} index="0"/>{fields}</{tag}>\n'
    )


def _lines(table: pd.DataFrame) -> str:
    """Tab-separated, without quotes: what separates fields or lines is a blank within them."""
    rows = [list(table.columns), *table.to_numpy().tolist()]
    return "".join("\t".join(" ".join(str(value).split()) for value in row) + "\n" for row in rows)
