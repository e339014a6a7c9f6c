"""The table of captions, whatever wrote them."""

import hashlib
from collections.abc import Sequence

import pandas as pd


def captions_table(image_ids: Sequence[str], captions: Sequence[str]) -> pd.DataFrame:
    """The `captions` table."""
    hashes = [hashlib.sha256(caption.encode()).hexdigest() for caption in captions]
    return pd.DataFrame({"image_id": list(image_ids), "caption": list(captions), "caption_hash": hashes})
