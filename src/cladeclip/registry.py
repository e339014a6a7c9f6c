"""Components that a config selects by name: encoder families, kinds of captioners, layouts, losses.

This package has its own; any installed package can add more by entry points (packaging.python.org,
"Creating and discovering plugins").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

from cladeclip.errors import ConfigError, did_you_mean

Named = TypeVar("Named")


@dataclass(frozen=True)
class Entry:
    """A named component and its module, which only jobs import."""

    name: str
    module: str
    words: str

    def code(self) -> Any:
        """The module, imported."""
        return import_module(self.module)

    def door(self, function: str) -> str:
        """Where one of its functions is, as `module:function`."""
        return f"{self.module}:{function}"


def named(word: str, name: str, ours: Mapping[str, Named], group: str) -> Named:
    """The component of this name: one of `ours`, or the object of an entry point of the group.

    Args:
        word: what the config calls it, or where it stands there.

    Raises:
        ConfigError: there is none, or more than one.
    """
    point = _point(word, name, ours, group)
    return ours[name] if point is None else cast(Named, point.load())


def place_of(word: str, name: str, ours: Mapping[str, str], group: str) -> str:
    """The same as `module:name`, without importing it."""
    point = _point(word, name, ours, group)
    return ours[name] if point is None else point.value


def at(place: str) -> Any:
    """Imports the object `module:name`."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _point(word: str, name: str, ours: Mapping[str, Any], group: str) -> EntryPoint | None:
    """The entry point of another package; None for one of ours."""
    installed = _installed(group)
    found = [point for point in installed if point.name == name]
    if not found and name not in ours:
        both = [*ours, *(point.name for point in installed)]
        raise ConfigError(f"{word} is {name!r}{did_you_mean(name, both)}; known are {', '.join(both)}.")
    if len(found) + (name in ours) > 1:
        packages = ["CladeCLIP"] * (name in ours) + [point.dist.name if point.dist else point.value for point in found]
        raise ConfigError(
            f"{word} is {name!r}, which {' and '.join(packages)} both have; rename one, or remove a package."
        )
    return found[0] if found else None


@cache
def _installed(group: str) -> list[EntryPoint]:
    """What other packages add to a group; kept, since a plan asks for every job."""
    return list(_of_all_groups().select(group=group))


@cache
def _of_all_groups() -> Any:
    """The entry points of all packages, whose files are read once."""
    return entry_points()
