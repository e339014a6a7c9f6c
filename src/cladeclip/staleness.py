"""Which code a job's result depends on, where its script reaches more than runs, and a cached row depends on less.

Imports nothing heavy, since every `snakemake` command runs it.
"""

from collections.abc import Collection
from functools import cache
from pathlib import Path

from cladeclip.fingerprint import fingerprint_of

# What makes and loads the folders of one family of encoders alone: it does not run in a job that loads others.
CODE_OF_FAMILY = {
    "open_clip": ("cladeclip.encoders.load:_open_clip_encoder", "cladeclip.encoders.weights:_open_clip_folder"),
    "timm": ("cladeclip.encoders.load:_timm_encoder", "cladeclip.encoders.weights:_timm_folder"),
    "transformers": (
        "cladeclip.encoders.vision_tower:vision_tower_encoder",
        "cladeclip.encoders.weights:_transformers_folder",
    ),
    "unicom": ("cladeclip.encoders.unicom:unicom_encoder", "cladeclip.encoders.unicom:make_unicom_folder"),
    "handcrafted": ("cladeclip.encoders.handcrafted:handcrafted_encoder",),
}
# What makes a row of a cache, as it is stored: decode, transform and forward.
CODE_OF_ROWS = {
    "images": ("cladeclip.encoders.embed:add_missing_images", "cladeclip.encoders.load:load_encoder"),
    "texts": ("cladeclip.encoders.embed:add_missing_texts", "cladeclip.encoders.load:load_encoder"),
    "captions": ("cladeclip.captioning.internvl:add_missing_captions",),
}


@cache
def code_of_script(script: Path, families: frozenset[str] = frozenset(CODE_OF_FAMILY)) -> str:
    """The fingerprint of a script that loads encoders of these families alone."""
    return fingerprint_of(script, without=_others(families))


@cache
def code_of_rows(rows: str, families: frozenset[str] = frozenset(CODE_OF_FAMILY)) -> str:
    """The fingerprint of what makes a row of a cache: `images`, `texts` or `captions`."""
    return fingerprint_of(*CODE_OF_ROWS[rows], without=_others(families))


def _others(families: Collection[str]) -> list[str]:
    return [one for family, code in CODE_OF_FAMILY.items() if family not in families for one in code]
