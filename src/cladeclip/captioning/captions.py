"""Captions: one sentence a picture, from a template or from a table that the user already has."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cladeclip.errors import ConfigError, DataError


def captions_table(image_ids: Sequence[str], captions: Sequence[str]) -> pd.DataFrame:
    """The `captions` table."""
    hashes = [hashlib.sha256(caption.encode()).hexdigest() for caption in captions]
    return pd.DataFrame({"image_id": list(image_ids), "caption": list(captions), "caption_hash": hashes})


def from_template(images: pd.DataFrame, template: str) -> list[str]:
    """`template` with {column} replaced by the columns of the `images` table.

    Raises:
        ConfigError: the template names a column that the table does not have.
    """
    rows = images.to_dict(orient="records")
    try:
        return [template.format_map(row) for row in rows]
    except (KeyError, ValueError, IndexError) as error:
        columns = ", ".join("{" + column + "}" for column in images.columns)
        raise ConfigError(
            f"config: the template {template!r} cannot be filled ({error}); known are {columns}."
        ) from error


def from_file(images: pd.DataFrame, path: str | Path) -> list[str]:
    """Captions of a CSV or Parquet table with the columns image_id and caption.

    Raises:
        DataError: the file or a column is missing, or an image has no caption or two.
    """
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
    captions = table.set_index("image_id")["caption"].astype(str).reindex(images["image_id"])
    if captions.isna().any() or (captions.str.strip() == "").any():
        empty = captions.isna() | (captions.str.strip() == "")
        raise DataError(
            f"{path}: {int(empty.sum())} image(s) have no caption, the first is {captions.index[empty][0]}."
        )
    return list(captions)
