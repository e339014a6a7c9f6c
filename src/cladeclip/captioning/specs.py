"""The kinds of captioners: what rules, plan and config know of each, without any of their libraries.

A kind is a module with a function, and a `Kind` in KINDS, or in another package's entry point of the group
`cladeclip.captioner_kinds`:

    captions(images, captioner, place) -> list[str]    one a row of the `images` table; `captioner` is an entry of
                                                       `captioners:`, `place` a Place

and where it has a model

    fetch(name, captioner, folder) -> None             brings it into `folder` and writes captioner.json there
    try_files(folder, captioner) -> str                what `make check-hub` says of a repository's small files
"""

from dataclasses import dataclass

from cladeclip.config.described import key
from cladeclip.config.values import Count, Revision, Text
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


@dataclass(frozen=True, kw_only=True)
class Template:
    """Of kind `template`."""

    template: Text = key("with any column of images.parquet between braces")


@dataclass(frozen=True, kw_only=True)
class File:
    """Of kind `file`."""

    path: Text = key("CSV or Parquet with the columns image_id and caption")


@dataclass(frozen=True, kw_only=True)
class InternVL:
    """Of kind `internvl`."""

    model: Text = key("of the Hugging Face hub, or a folder")
    revision: Revision = key("branch, tag or commit of its repository (main)", left_out=True)
    licence: str = key("of the model", left_out=True)
    prompt: Text = key("what it is asked")
    max_new_tokens: Count = key("the longest caption, in tokens")
    batch_size: Count = key("images captioned at once")


@dataclass(frozen=True)
class Kind(Entry):
    """One kind.

    Attributes:
        name: as `kind:` has it.
        module: where its functions are.
        words: what it is.
        settings: what else an entry of `captioners:` has, described; see config/described.py.
        file: the key that names a file of the user, if any.
        model: a model writes the captions, on a GPU if there is one, and is fetched.
        rows: the function whose code determines the cached captions, if there is a cache.
    """

    settings: type
    file: str = ""
    model: bool = False
    rows: str = ""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("template", "cladeclip.captioning.kinds.template", "one sentence for all", Template),
        Kind("file", "cladeclip.captioning.kinds.file", "a table of captions", File, file="path"),
        Kind(
            "internvl",
            "cladeclip.captioning.kinds.internvl",
            "a model of InternVL's",
            InternVL,
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
