"""Captions from a template with columns of the `images` table."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cladeclip.captioning.specs import Place
from cladeclip.errors import ConfigError


def captions(images: pd.DataFrame, captioner: Mapping[str, Any], place: Place) -> list[str]:
    """The captioner's `template` with {column} replaced by the columns of the `images` table.

    Raises:
        ConfigError: the template names a column that the table does not have.
    """
    template: str = captioner["template"]
    rows = images.to_dict(orient="records")
    try:
        return [template.format_map(row) for row in rows]
    except (KeyError, ValueError, IndexError) as error:
        columns = ", ".join("{" + column + "}" for column in images.columns)
        raise ConfigError(
            f"config: the template {template!r} cannot be filled ({error}); known are {columns}."
        ) from error
