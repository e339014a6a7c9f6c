"""Which repository of the hub an entry of `encoders:` or `captioners:` means, and which of its files.

The rules are those of the libraries themselves: a tag's repository and weight file are open_clip's or timm's, and weights as
safetensors go before a pickle.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from cladeclip.encoders.specs import family_named
from cladeclip.hub import HubError, Snapshot, is_cached, snapshot

# Configs, tokenizers and processors of a model of transformers.
AROUND = ("*.json", "*.txt", "*.model", "*.jinja")
# And its weights; the first pattern that a repository has is taken, with all that it matches.
TRANSFORMERS_WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True)
class HubSource:
    """A repository at a revision, and what is wanted of it.

    Attributes:
        weights: patterns of weight files, of which the first that fits counts.
        around: patterns of the files that are wanted beside them.
    """

    repository: str
    revision: str
    weights: tuple[str, ...]
    around: tuple[str, ...] = ()

    def choose(self, names: Collection[str]) -> list[str]:
        """The names that are wanted.

        Raises:
            HubError: there are no weights among them.
        """
        top = [name for name in names if len(PurePosixPath(name).parts) == 1]
        wanted = [name for name in top if any(fnmatch(name, pattern) for pattern in self.around)]
        for pattern in self.weights:
            if weights := [name for name in top if fnmatch(name, pattern)]:
                return [*wanted, *(name for name in weights if name not in wanted)]
        if self.weights:
            raise HubError(f"{self.repository} at {self.revision} has none of {', '.join(self.weights)}")
        return wanted

    def bring(self, folder: str | Path) -> Snapshot:
        """Brings the files below `folder`.

        Raises:
            HubError: they cannot be had.
        """
        return snapshot(self.repository, self.choose, folder, revision=self.revision)

    def is_cached(self) -> bool:
        """Whether the hub's cache has what is wanted."""
        return is_cached(self.repository, self.choose, revision=self.revision)


def encoder_source(definition: Mapping[str, Any]) -> HubSource | None:
    """Where the weights of an entry of `encoders:` lie on the hub; None where they come from elsewhere."""
    found: HubSource | None = family_named(definition["family"]).code().source(definition)
    return found


def captioner_source(definition: Mapping[str, Any]) -> HubSource | None:
    """Where the model of an entry of `captioners:` lies on the hub; None where it is a folder, or none is needed."""
    model = definition.get("model")
    if model is None or Path(model).is_dir():
        return None
    return HubSource(model, definition.get("revision", "main"), TRANSFORMERS_WEIGHTS, AROUND)


def tokenizer_source(model_cfg: Mapping[str, Any]) -> HubSource | None:
    """Where the tokenizer of an open_clip model lies; None where it is open_clip's own, which is part of the library."""
    name = model_cfg["text_cfg"].get("hf_tokenizer_name")
    return HubSource(name, "main", (), AROUND) if name else None


def safe_first(file: str | None) -> tuple[str, ...]:
    """A weight file that a library names, and before it the same as safetensors."""
    if not file:
        return ()
    return tuple(dict.fromkeys([str(PurePosixPath(file).with_suffix(".safetensors")), file]))
