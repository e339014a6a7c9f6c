"""The kinds of captioners: what rules, plan and config know of each, without any of their libraries.

A kind is a module with a function, and a `Kind` in KINDS, or in another package's entry point of the group
`cladeclip.captioner_kinds`:

    captions(images, captioner, place) -> list[str]    one a row of the `images` table; `captioner` is an entry of
                                                       `captioners:`, `place` a Place

and where it has a model

    fetch(name, captioner, folder) -> None             brings it into `folder` and writes captioner.json there
    try_files(folder, captioner) -> str                what `make check-hub` says of a repository's small files
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cladeclip.errors import ConfigError
from cladeclip.registry import Entry, named


@dataclass(frozen=True)
class Place:
    """Where a job captions.

    Attributes:
        root: folder that the pictures' paths are below.
        model: the captioner.json of the model, where there is one.
        cache: folder of cached captions.
        code: fingerprint of the code that generates them.
    """

    root: str
    model: str = ""
    cache: str = ""
    code: str = ""


@dataclass(frozen=True)
class Kind(Entry):
    """One kind.

    Attributes:
        name: as `kind:` has it.
        module: where its functions are.
        keys: required keys of an entry of `captioners:`; optional: further keys that it may have.
        file: the key that names a file of the user, if any.
        model: a model writes the captions, on a GPU if there is one, and is fetched.
        rows: the function whose code determines the cached captions, if there is a cache.
    """

    keys: tuple[str, ...]
    optional: tuple[str, ...] = ()
    file: str = ""
    model: bool = False
    rows: str = ""

    def check(self, key: str, captioner: Mapping[str, Any]) -> None:
        """Rejects an invalid entry of `captioners:`; `key` is its path in the config.

        Raises:
            ConfigError: the sentence names the key.
        """
        for needed in self.keys:
            if needed not in captioner:
                raise ConfigError(f"config: {key}.{needed} is missing; kind {self.name} needs it.")
        self.check_keys(key, captioner, ["kind", *self.keys, *self.optional])


KINDS = {
    kind.name: kind
    for kind in (
        Kind("template", "cladeclip.captioning.kinds.template", keys=("template",)),
        Kind("file", "cladeclip.captioning.kinds.file", keys=("path",), file="path"),
        Kind(
            "internvl",
            "cladeclip.captioning.kinds.internvl",
            keys=("model", "prompt", "max_new_tokens", "batch_size"),
            optional=("revision", "licence"),
            model=True,
            rows="add_missing_captions",
        ),
    )
}


def kind_named(name: str, word: str = "kind") -> Kind:
    """Of KINDS, or of an installed package.

    Raises:
        ConfigError: there is none.
    """
    return named(word, name, KINDS, "cladeclip.captioner_kinds")
