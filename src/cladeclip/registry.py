"""Components that a config selects by name: encoder families, kinds of captioners, layouts, losses.

This package has its own; any installed package can add more by entry points (packaging.python.org,
"Creating and discovering plugins").
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from cladeclip.errors import ConfigError, did_you_mean

Named = TypeVar("Named")


@dataclass(frozen=True)
class Entry:
    """A named component and its module, which only jobs import."""

    name: str
    module: str

    def code(self) -> Any:
        """The module, imported."""
        return import_module(self.module)

    def door(self, function: str) -> str:
        """Where one of its functions is, as `module:function`."""
        return f"{self.module}:{function}"

    def check_keys(self, key: str, given: Collection[str], allowed: Collection[str]) -> None:
        """Rejects keys that the component does not take; `key` is the entry's path in the config.

        Raises:
            ConfigError: the first such key, in one sentence.
        """
        for unused in sorted(set(given) - set(allowed)):
            near = did_you_mean(unused, allowed)
            raise ConfigError(f"config: {key}.{unused} has no meaning for {self.name}{near}; remove it.")


def named(word: str, name: str, ours: Mapping[str, Named], group: str) -> Named:
    """The component of this name: one of `ours`, or the object of an entry point of the group.

    Args:
        word: what the config calls it, or where it stands there.

    Raises:
        ConfigError: there is none.
    """
    if name in ours:
        return ours[name]
    found: Named = _point(word, name, ours, group).load()
    return found


def place_of(word: str, name: str, ours: Mapping[str, str], group: str) -> str:
    """The same as `module:name`, without importing it."""
    return ours[name] if name in ours else _point(word, name, ours, group).value


def at(place: str) -> Any:
    """Imports the object `module:name`."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _point(word: str, name: str, ours: Mapping[str, Any], group: str) -> EntryPoint:
    known = installed(group)
    if name not in known:
        both = [*ours, *known]
        raise ConfigError(f"{word} is {name!r}{did_you_mean(name, both)}; known are {', '.join(both)}.")
    return known[name]


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """What other packages add, by its name."""
    return {point.name: point for point in entry_points(group=group)}
