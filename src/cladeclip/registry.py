"""What has a name in a config and is one module each: encoder families, kinds of captioners.

This package has its own; any installed package can add more by entry points (packaging.python.org,
"Creating and discovering plugins").
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from cladeclip.errors import ConfigError, did_you_mean

Named = TypeVar("Named")


def named(word: str, name: str, ours: Mapping[str, Named], group: str) -> Named:
    """The entry of this name: ours, or of an entry point of the group whose object has it as its `name`.

    Args:
        word: what the config calls it.

    Raises:
        ConfigError: there is none.
    """
    if name in ours:
        return ours[name]
    known = {**installed(group), **ours}
    if name not in known:
        raise ConfigError(f"{word} is {name!r}{did_you_mean(name, known)}; known are {', '.join(known)}.")
    return known[name]


@cache
def installed(group: str) -> dict[str, Any]:
    """What other packages add, by its name."""
    found = [point.load() for point in entry_points(group=group)]
    return {one.name: one for one in found}
