"""Captions from a table that the user already has."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cladeclip.captioning.specs import Place
from cladeclip.errors import DataError


def captions(images: pd.DataFrame, captioner: Mapping[str, Any], place: Place) -> list[str]:
    """Captions of a CSV or Parquet table, `path`, with the columns image_id and caption.

    Raises:
        DataError: the file or a column is missing, or an image has no caption, or more than one.
    """
    path: str = captioner["path"]
    try:
        table = pd.read_parquet(path) if str(path).endswith(".parquet") else pd.read_csv(path, keep_default_na=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file of captions; correct the captioner's path.") from error
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read as a table of captions ({error}).") from error
    for column in ("image_id", "caption"):
        if column not in table:
            raise DataError(f"{path}: has no column '{column}'; a table of captions has image_id and caption.")
    if table["image_id"].duplicated().any():
        twice = table.loc[table["image_id"].duplicated(), "image_id"].iloc[0]
        raise DataError(f"{path}: {twice} has more than one caption.")
    found = table.set_index("image_id")["caption"].astype(str).reindex(images["image_id"])
    if found.isna().any() or (found.str.strip() == "").any():
        empty = found.isna() | (found.str.strip() == "")
        raise DataError(f"{path}: {int(empty.sum())} image(s) have no caption, the first is {found.index[empty][0]}.")
    return list(found)
