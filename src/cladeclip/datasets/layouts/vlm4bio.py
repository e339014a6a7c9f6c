"""The layout of VLM4Bio (Maruf et al., NeurIPS 2024): one folder a category, each with images/ and metadata/*.csv."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.errors import DataError
from cladeclip.io.table_file import read_table_file

COLUMNS = ("fileNameAsDelivered", "scientificName")
# The official tree has several lists of the same pictures (subsets by difficulty); the full one is named so.
FULL_LISTS = ("metadata_10k.csv", "bird_metadata_10k.csv", "metadata.csv")


def read(root: str | Path, listing: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """See `read_listed`; there are no settings, and the listing is not looked at."""
    return read_metadata(root)


def read_metadata(root: str | Path) -> pd.DataFrame:
    """The listed pictures: image_id (path below root), category, scientific_name as written (empty where blank).

    Raises:
        DataError: there is no category, or one has no metadata file with the two columns.
    """
    root = Path(root)
    # A category with a list but no pictures is kept, so that its missing pictures are reported.
    categories = sorted({folder.parent for part in ("images", "metadata") for folder in root.glob(f"*/{part}")})
    if not categories:
        raise DataError(
            f"{root}: no folder below it has an images/ or a metadata/ folder; layout vlm4bio expects CATEGORY/images/ and "
            "CATEGORY/metadata/*.csv."
        )
    return pd.concat([_category(folder) for folder in categories], ignore_index=True)


def _category(folder: Path) -> pd.DataFrame:
    tables = {
        path.name: table for path in sorted((folder / "metadata").glob("*.csv")) if (table := _table(path)) is not None
    }
    if not tables:
        raise DataError(
            f"{folder / 'metadata'}: no CSV file with the columns {' and '.join(COLUMNS)}; add one that lists the pictures."
        )
    full = [name for name in tables if name in FULL_LISTS]
    listed = pd.concat([tables[name] for name in full[:1] or tables], ignore_index=True)
    prefix = PurePosixPath(folder.name, "images")
    return pd.DataFrame(
        {
            "image_id": [str(prefix / name.strip()) for name in listed["fileNameAsDelivered"]],
            "category": folder.name,
            "scientific_name": listed["scientificName"],
        }
    )


def _table(path: Path) -> pd.DataFrame | None:
    """The two columns of a file; None where it is no table that has them."""
    try:
        table = read_table_file(path)
    except DataError:
        return None
    return table[list(COLUMNS)] if set(COLUMNS) <= set(table.columns) else None
