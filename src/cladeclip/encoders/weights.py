"""Encoder folders: every encoder as a folder that its own library loads.

Whatever the config names (a pretrained tag, a hub repository, a weight file, a seed for random weights), its family brings
into one form: `model.safetensors`, the files that the family's library reads (`Family.files`), and `encoder.json`, which
says of which family it is and where it came from, and holds the sha256 of every file. A trained student is such a folder
as well.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cladeclip.encoders.hub_sources import HubSource
from cladeclip.encoders.specs import FAMILIES, HUB, IN_PACKAGE, WEIGHTS, Family, family_named
from cladeclip.errors import CladeclipError, ConfigError
from cladeclip.hub import HubError, Snapshot
from cladeclip.io.atomic import atomic_path, read_json, sha256_of_file, write_json

logger = logging.getLogger(__name__)

# What says that an encoder folder is whole.
RECORD = "encoder.json"
# Below an encoder folder, while it is made: what comes from the hub.
DOWNLOAD = ".download"
# Sizes and times of an encoder folder's files when they were hashed last.
SEEN = ".seen.json"


def make_encoder_folder(name: str, definition: Mapping[str, Any], folder: str | Path) -> None:
    """Brings the encoder `name`, as `definition` (an entry of `encoders:`) says, into `folder`.

    Raises:
        ConfigError: the definition names an architecture, tag or file that does not exist or does not fit.
        CladeclipError: the weights have to be downloaded and cannot be.
    """
    folder, family = Path(folder), family_named(definition["family"])
    folder.mkdir(parents=True, exist_ok=True)
    # What another family left there must not look like this one's.
    for file in {file for one in FAMILIES.values() for file in one.files}.difference(family.files):
        (folder / file).unlink(missing_ok=True)
    sources = family.code().make(name, definition, folder)
    shutil.rmtree(folder / DOWNLOAD, ignore_errors=True)
    files = write_record(folder, definition, [source.record() for source in sources])
    write_json(folder / SEEN, _sizes_and_times(folder, files))


def write_record(folder: Path, definition: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """Writes encoder.json, which marks the folder as whole: its definition, its sources, and its files' sha256.

    Returns:
        the names of the files.
    """
    files = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != RECORD and p.name[0] != ".")
    record = {
        "definition": json.loads(json.dumps(definition)),
        "files": {file: {"sha256": sha256_of_file(folder / file)} for file in files},
        "sources": list(sources),
    }
    write_json(folder / RECORD, record)
    return files


def family_of(folder: str | Path) -> Family:
    """The family of an encoder folder.

    Raises:
        CladeclipError: it is none.
    """
    path = Path(folder, RECORD)
    try:
        return family_named(read_json(path)["definition"]["family"])
    except (OSError, ValueError, KeyError) as error:
        raise CladeclipError(
            f"{path} is not there or cannot be read: not an encoder folder; delete the folder and run again to rebuild it."
        ) from error


def folder_fingerprint(folder: str | Path) -> str:
    """A hash of everything in an encoder folder that decides its embeddings: weights, architecture and transform."""
    files = [Path(folder, name) for name in (WEIGHTS, *family_of(folder).files)]
    found = [f"{path.name} {sha256_of_file(path)}" for path in files if path.is_file()]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def made_with(folder: str | Path) -> dict[str, str]:
    """The sha256 of an encoder folder's weights, for the metadata of what they make."""
    weights = Path(folder, WEIGHTS)
    return {"weights_sha256": sha256_of_file(weights)} if weights.is_file() else {}


def weight_file(definition: Mapping[str, Any]) -> Path:
    """The path of an encoder's weight file; `python-package:MODULE/FILE` is a file inside an installed package.

    Raises:
        ConfigError: there is no such file, or it is not the one whose `sha256` the definition gives.
    """
    weights = definition["weights"]
    path = inside_package(weights) if weights.startswith(IN_PACKAGE) else Path(weights)
    if not path.is_file():
        raise ConfigError(
            f"weights {weights!r}: there is no such file; put it there or correct the path in `encoders:`."
        )
    check_sha256(definition, weights, path)
    return path


def inside_package(reference: str) -> Path:
    """The path that `python-package:MODULE/PATH` means."""
    module, _, inside = reference.removeprefix(IN_PACKAGE).partition("/")
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"{reference!r}: the Python package '{module}' is not installed; run `make setup`.")
    return Path(next(iter(found.submodule_search_locations)), inside)


def check_sha256(definition: Mapping[str, Any], named: str, path: Path) -> None:
    if "sha256" in definition and (found := sha256_of_file(path)) != definition["sha256"]:
        raise ConfigError(
            f"weights {named!r}: the file's sha256 is {found}, not {definition['sha256']}; it is damaged or another "
            "one: download it again, or correct the sha256 in `encoders:`."
        )


def from_hub(name: str, definition: Mapping[str, Any], source: HubSource, folder: Path) -> Snapshot:
    """Brings what an encoder needs of the hub below `folder`/.download."""
    try:
        return source.bring(folder / DOWNLOAD)
    except HubError as error:
        if str(definition["architecture"]).startswith(HUB):
            by_hand = (
                f"fetch it there by `hf download {source.repository} --local-dir DIR` and set encoders.{name}.architecture "
                "to local-dir:DIR"
            )
        else:
            beside = "beside" if family_named(definition["family"]).tag_and_file else "instead of"
            by_hand = (
                f"fetch a weight file of {source.repository} ({' or '.join(source.weights)}) there and give encoders.{name} "
                f"`weights: FILE` {beside} `pretrained`"
            )
        raise CladeclipError(
            f"encoder '{name}': {error}. Run `snakemake {folder}/encoder.json` where there is internet (a cluster's login "
            f"node), or {by_hand}."
        ) from error


def note_changed_weights(weights: str | Path) -> None:
    """Brings encoder.json up to date where somebody replaced a file of an encoder folder: its embeddings are then stale.

    Only files whose size or time is not the one seen last are hashed.
    """
    for record_path in sorted(Path(weights).glob(f"*/{RECORD}")):
        folder, record = record_path.parent, read_json(record_path)
        now = _sizes_and_times(folder, record["files"])
        if (folder / SEEN).is_file() and now == read_json(folder / SEEN):
            continue
        hashes = {name: {"sha256": sha256_of_file(folder / name)} for name in now}
        changed = sorted(name for name in hashes if hashes[name] != record["files"][name])
        if changed:
            logger.warning("%s: %s changed; what it made is stale.", folder, ", ".join(changed))
            write_json(record_path, record | {"files": record["files"] | hashes})
        write_json(folder / SEEN, now)


def _sizes_and_times(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    found = {name: (folder / name).stat() for name in names if (folder / name).is_file()}
    return {name: [status.st_size, status.st_mtime_ns] for name, status in found.items()}


def save_weights(model: Any, path: str | Path) -> None:
    """A model's state as safetensors, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({key: value.detach().contiguous().cpu() for key, value in model.state_dict().items()}, temporary)
        # safetensors makes the file private to its owner; here the umask decides, as for all other files.
        os.umask(mask := os.umask(0))
        temporary.chmod(0o666 & ~mask)
