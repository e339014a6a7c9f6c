"""The code that a job's result depends on, where its script reaches code that does not run, and that of a cached row.

Imports nothing heavy, since every `snakemake` command runs it.
"""

from collections.abc import Collection, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cladeclip.captioning.specs import kind_named
from cladeclip.encoders.specs import family_named
from cladeclip.run.fingerprint import fingerprint_of, reached_by, source_of

# Functions that call into an encoder family, which the config chooses, and the function of the family that they call.
DOORS = {
    ("cladeclip.encoders.weights", "make_encoder_folder"): "make",
    ("cladeclip.encoders.load", "load_encoder"): "load",
    ("cladeclip.training.checkpoint", "save_checkpoint"): "save",
}
# What makes a row of a cache, as it is stored: decode, transform and forward.
CODE_OF_ROWS = {
    "images": ("cladeclip.encoders.embed:add_missing_images", "cladeclip.encoders.load:load_encoder"),
    "texts": ("cladeclip.encoders.embed:add_missing_texts", "cladeclip.encoders.load:load_encoder"),
}


@cache
def code_of_script(script: Path, families: frozenset[str] = frozenset(), chosen: tuple[str, ...] = ()) -> str:
    """The fingerprint of a script that makes, loads or saves encoders of these families alone.

    Args:
        chosen: what else the config chooses by its name, as `module:function`.
    """
    found = [code for place in chosen for code in _code_in(*place.split(":"))]
    return fingerprint_of(script, *_entered(families, script), *found)


@cache
def code_of_rows(rows: str, families: frozenset[str] = frozenset()) -> str:
    """The fingerprint of what makes a row of a cache: `images` or `texts`."""
    return fingerprint_of(*CODE_OF_ROWS[rows], *_entered(families, *CODE_OF_ROWS[rows]))


@cache
def code_of_captions(kind: str) -> str:
    """The fingerprint of what makes a caption that is kept; empty where none is."""
    of_kind = kind_named(kind)
    return fingerprint_of(*_code_in(of_kind.module, of_kind.rows)) if of_kind.rows else ""


def _entered(families: Collection[str], *roots: str | Path) -> Iterator[str | Path]:
    """What these reach of the families."""
    reached = reached_by(*roots) if families else {}
    for name in sorted(families):
        family = family_named(name)
        entered = [function for door, function in DOORS.items() if door in reached]
        yield from _code_in(family.module, *(one for one in entered if one != "save" or family.trainable))


def _code_in(module: str, *functions: str) -> list[str | Path]:
    """These functions of a module; all of its file where it is of another package."""
    if source_of(module) is not None:
        return [f"{module}:{function}" for function in functions]
    found = find_spec(module)
    return [Path(found.origin)] if found is not None and found.origin else []
