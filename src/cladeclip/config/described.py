"""Described dataclasses: what a section of the config may hold, with defaults and descriptions, defined once.

They give the schema that a config is checked against, its defaults, `config/config.yaml`, its page of the docs, and the
keys that make a result stale.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
WORDS = {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
WORDS |= {"object": "a mapping", "array": "a list", "null": "null"}
LIMITS = {
    "minimum": "{} or more",
    "maximum": "{} or less",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
}


def key(
    words: str, default: Any = MISSING, *, running: bool = False, apart: bool = False, left_out: bool = False
) -> Any:
    """A key of a section.

    Args:
        words: the comment that it has in the config and the docs.
        default: MISSING for a required key, and for a nested section, which has its own.
        running: it affects how or where work is done, or what is made only on request, but not the results of a run.
        apart: the rules that depend on the rest of its section do not depend on it.
        left_out: it is optional and has no default.
    """
    metadata = {"words": words, "running": running, "apart": apart, "left_out": left_out}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default_factory=lambda: deepcopy(default), metadata=metadata)


def choices(words: Mapping[str, str]) -> str:
    """The words of a key that chooses one of these."""
    return "; ".join(f"{name}: {said}" for name, said in words.items())


def limits(**schema: Any) -> tuple[tuple[str, Any], ...]:
    """Constraints of a key beyond its type, as JSON schema keywords; `description` states them in words."""
    return tuple(schema.items())


def spelled(one: Field[Any]) -> str:
    """As the config has it: `import_` is a Python name for `import`."""
    return one.name.rstrip("_")


def _is_needed(one: Field[Any], kinds: Mapping[str, Any]) -> bool:
    has_default = one.default_factory is not MISSING or is_dataclass(kinds[spelled(one)])
    return not has_default and not one.metadata["left_out"]


@cache
def types_of(section: type) -> dict[str, Any]:
    """The type of each value, by key."""
    hints = get_type_hints(section, include_extras=True)
    return {spelled(one): hints[one.name] for one in fields(section)}


def schema_of(described: Any) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a section, or of what a key is annotated with."""
    origin, args = get_origin(described), get_args(described)
    if is_dataclass(described) and isinstance(described, type):
        kinds = types_of(described)
        properties = {name: schema_of(kind) for name, kind in kinds.items()}
        needed = [spelled(one) for one in fields(described) if _is_needed(one, kinds)]
        return {"type": "object", "additionalProperties": False, "properties": properties, "required": needed}
    if origin is Annotated:
        return schema_of(args[0]) | dict(args[1])
    if origin is Literal:
        return {"enum": list(args)}
    if origin is list:
        return {"type": "array", "items": schema_of(args[0])}
    if origin is dict:
        return {"type": "object", "propertyNames": schema_of(args[0]), "additionalProperties": schema_of(args[1])}
    if origin in (Union, UnionType):
        if len(args) == 2 and args[1] is NoneType:
            return (found := schema_of(args[0])) | {"type": [found["type"], "null"]}
        return {"anyOf": [schema_of(one) for one in args]}
    return {} if described is Any else {"type": TYPES[described]}


def allowed(schema: Mapping[str, Any], mark: str = "") -> str:
    """What a schema allows, in words; values between marks."""
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return ", ".join(f"{mark}{value}{mark}" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(allowed(one, mark) for one in schema["anyOf"])
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    said = [" or ".join(WORDS[kind] for kind in kinds)]
    said += [text.format(schema[limit]) for limit, text in LIMITS.items() if limit in schema]
    return ", ".join(said) + (f" of {allowed(schema['items'], mark)}" if "items" in schema else "")


def defaults_of(section: type) -> dict[str, Any]:
    """The default values of a section."""
    found: dict[str, Any] = {}
    fill(found, section)
    return found


def fill(values: dict[str, Any], section: type) -> None:
    """Inserts the defaults of missing values; required keys have none."""
    kinds = types_of(section)
    for one in fields(section):
        name = spelled(one)
        if one.metadata["left_out"]:
            continue
        if is_dataclass(kinds[name]):
            fill(values.setdefault(name, {}), kinds[name])
        elif name not in values and one.default_factory is not MISSING:
            values[name] = one.default_factory()


def deciding(section: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section that determine its results, as a param that does not depend on their order in the config.

    A key counts unless it is marked: better a result is stale once too often than never.
    """
    without = _marked(section, "apart", "running")
    return {name: ordered(values[name]) for name in sorted(values) if name not in without}


def shown(section: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section, and of nested sections, that reproduce its results."""
    kinds = types_of(section)
    without = _marked(section, "running")
    return {
        name: shown(kinds[name], values[name]) if is_dataclass(kinds.get(name)) else ordered(values[name])
        for name in sorted(values)
        if name not in without
    }


def _marked(section: type, *marks: str) -> set[str]:
    """The keys of a section that have any of these marks."""
    return {spelled(one) for one in fields(section) if any(one.metadata[mark] for mark in marks)}


def ordered(settings: Any) -> Any:
    """The same settings whatever the order of their keys."""
    if isinstance(settings, Mapping):
        return {name: ordered(settings[name]) for name in sorted(settings)}
    return list(map(ordered, settings)) if isinstance(settings, list | tuple) else settings
