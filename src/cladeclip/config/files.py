"""Merges config files: later ones override earlier ones."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cladeclip.errors import ConfigError, first_line


def merged(paths: Iterable[str | Path]) -> dict[str, Any]:
    """The config that these files give together: a later one's keys win, as with Snakemake's --configfile.

    Raises:
        ConfigError: a file is missing or not YAML.
    """
    config: dict[str, Any] = {}
    for path in paths:
        try:
            update(config, yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {})
            drop_nulls(config)
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read as a config ({first_line(error)}).") from error
    return config


def update(config: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Puts `changes` into `config`: mappings are merged, anything else is replaced."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(config.get(key), dict):
            update(config[key], value)
        else:
            config[key] = value


def drop_nulls(config: Mapping[str, Any]) -> None:
    """Removes from `encoders:` and `captioners:` what a later file sets to null, as merging alone removes no key."""
    for section in (config.get("encoders"), config.get("captioners")):
        for entry in [section, *section.values()] if isinstance(section, dict) else []:
            for key in [key for key, value in entry.items() if value is None] if isinstance(entry, dict) else []:
                del entry[key]
