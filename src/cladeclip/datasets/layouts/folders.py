"""Layout `folders`: one folder per species."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from cladeclip.datasets.layouts.specs import WITHOUT_CATEGORY
from cladeclip.datasets.names import higher_ranks_in, joined
from cladeclip.datasets.pictures import may_be_picture
from cladeclip.errors import DataError


def read(root: str | Path, listing: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """See `read_listed`."""
    return from_folders(listing, **settings)


def from_folders(listing: pd.DataFrame, *, ranks: list[str]) -> pd.DataFrame:
    """One folder a species, named after it (`Lepomis_gulosus`, `Lepomis gulosus`, or `gulosus` in a folder of its genus).

    Folders around it are higher ranks; iNaturalist's folder names contain them.

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
