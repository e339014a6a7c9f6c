"""Splits large sets into shards of about equal size, each a batch job of its own."""

import hashlib
from collections.abc import Sequence


def shard_names(shards: int) -> list[str]:
    """`1-of-4`, `2-of-4`, ..."""
    return [f"{number}-of-{shards}" for number in range(1, shards + 1)]


def in_shard(image_ids: Sequence[str], shard: str) -> list[bool]:
    """Which images belong to this shard (`2-of-4`): a hash of the id decides, so that added images move no others."""
    number, _, shards = shard.partition("-of-")
    return [
        int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") % int(shards) == int(number) - 1
        for image_id in image_ids
    ]
