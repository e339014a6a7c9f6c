"""Encoder folders: every encoder as a folder that its own library loads with `local-dir:`.

Whatever the config names (a pretrained tag, a hub repository, a weight file, a seed for random weights) is brought into one
form: `model.safetensors` with `open_clip_config.json` (open_clip), `config.json` (timm; transformers, which adds
`preprocessor_config.json`) or `unicom_config.json` (UNICOM's own tower), and `encoder.json`, which says where it came from
and holds the sha256 of every file. A trained student is such a folder as well.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cladeclip.atomic import read_json, sha256_of_file, write_json
from cladeclip.encoders.hub_sources import HUB, HubSource, encoder_source, tokenizer_source
from cladeclip.encoders.open_clip_library import open_clip_for
from cladeclip.errors import CladeclipError, ConfigError, first_line
from cladeclip.hub import HubError, Snapshot

logger = logging.getLogger(__name__)

OPEN_CLIP_CONFIG = "open_clip_config.json"
TIMM_CONFIG = "config.json"
PROCESSOR_CONFIG = "preprocessor_config.json"
HANDCRAFTED_CONFIG = "handcrafted.json"
UNICOM_CONFIG = "unicom_config.json"
WEIGHTS = "model.safetensors"
# What says how the folder of a family is loaded.
CONFIG_OF_FAMILY = {
    "open_clip": OPEN_CLIP_CONFIG,
    "timm": TIMM_CONFIG,
    "transformers": TIMM_CONFIG,
    "unicom": UNICOM_CONFIG,
    "handcrafted": HANDCRAFTED_CONFIG,
}
# Before MODULE/PATH: a file or folder inside an installed package.
IN_PACKAGE = "python-package:"
# The files of an encoder folder that decide its embeddings.
DECIDING = (WEIGHTS, OPEN_CLIP_CONFIG, TIMM_CONFIG, PROCESSOR_CONFIG, HANDCRAFTED_CONFIG, UNICOM_CONFIG)
# Below an encoder folder, while it is made: what comes from the hub.
DOWNLOAD = ".download"
# Sizes and times of an encoder folder's files when they were hashed last.
SEEN = ".seen.json"
# What of a picture's preprocessing an open_clip config holds.
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


def make_encoder_folder(name: str, definition: Mapping[str, Any], folder: str | Path) -> None:
    """Brings the encoder `name`, as `definition` (an entry of `encoders:`) says, into `folder`.

    Raises:
        ConfigError: the definition names an architecture, tag or file that does not exist or does not fit.
        CladeclipError: the weights have to be downloaded and cannot be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # What it is loaded as is seen from its config: one that was of another family must not stay.
    for config in {*CONFIG_OF_FAMILY.values()} - {CONFIG_OF_FAMILY[definition["family"]]}:
        (folder / config).unlink(missing_ok=True)
    sources: list[Snapshot | None] = []
    match definition["family"]:
        case "handcrafted":
            write_json(folder / HANDCRAFTED_CONFIG, {"image_px": definition.get("image_px", 96)})
        case "timm":
            sources.append(_timm_folder(name, definition, folder))
        case "transformers":
            sources.append(_transformers_folder(name, definition, folder))
        case "unicom":
            from cladeclip.encoders.unicom import make_unicom_folder

            path = weight_file(definition) if "weights" in definition else None
            save_weights(make_unicom_folder(name, definition, path, folder), folder / WEIGHTS)
        case "open_clip":
            sources += _open_clip_folder(name, definition, folder)
    shutil.rmtree(folder / DOWNLOAD, ignore_errors=True)
    files = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != "encoder.json" and p.name[0] != ".")
    record = {
        "definition": json.loads(json.dumps(definition)),
        "files": {file: {"sha256": sha256_of_file(folder / file)} for file in files},
        "sources": [source.record() for source in sources if source],
    }
    write_json(folder / "encoder.json", record)
    write_json(folder / SEEN, _sizes_and_times(folder, files))


def folder_fingerprint(folder: str | Path) -> str:
    """A hash of everything in an encoder folder that decides its embeddings: weights, architecture and transform."""
    files = [Path(folder, name) for name in DECIDING]
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
    path = _inside_package(weights) if weights.startswith(IN_PACKAGE) else Path(weights)
    if not path.is_file():
        raise ConfigError(
            f"weights {weights!r}: there is no such file; put it there or correct the path in `encoders:`."
        )
    _check_sha256(definition, weights, path)
    return path


def _inside_package(reference: str) -> Path:
    """The path that `python-package:MODULE/PATH` means."""
    module, _, inside = reference.removeprefix(IN_PACKAGE).partition("/")
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"{reference!r}: the Python package '{module}' is not installed; run `make setup`.")
    return Path(next(iter(found.submodule_search_locations)), inside)


def _check_sha256(definition: Mapping[str, Any], named: str, path: Path) -> None:
    if "sha256" in definition and (found := sha256_of_file(path)) != definition["sha256"]:
        raise ConfigError(
            f"weights {named!r}: the file's sha256 is {found}, not {definition['sha256']}; it is damaged or another "
            "one: download it again, or correct the sha256 in `encoders:`."
        )


def _from_hub(name: str, definition: Mapping[str, Any], source: HubSource, folder: Path) -> Snapshot:
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
            beside = "beside" if definition["family"] == "open_clip" else "instead of"
            by_hand = (
                f"fetch a weight file of {source.repository} ({' or '.join(source.weights)}) there and give encoders.{name} "
                f"`weights: FILE` {beside} `pretrained`"
            )
        raise CladeclipError(
            f"encoder '{name}': {error}. Run `snakemake {folder}/encoder.json` where there is internet (a cluster's login "
            f"node), or {by_hand}."
        ) from error


def _open_clip_folder(name: str, definition: Mapping[str, Any], folder: Path) -> list[Snapshot | None]:
    architecture, tag = definition["architecture"], definition.get("pretrained")
    local = None
    if isinstance(architecture, str) and architecture.startswith(IN_PACKAGE):
        local = _inside_package(architecture)
    elif isinstance(architecture, str) and architecture.startswith("local-dir:"):
        local = Path(architecture.removeprefix("local-dir:"))
    open_clip = open_clip_for(architecture if isinstance(architecture, Mapping) else None)
    from open_clip.pretrained import get_pretrained_cfg

    source, fetched = encoder_source(definition) if local is None else None, None
    if source and architecture.startswith(HUB):
        fetched = _from_hub(name, definition, source, folder)
        local = fetched.folder
    if isinstance(architecture, Mapping):
        model_cfg = json.loads(json.dumps(architecture))
    elif local:
        if not (local / OPEN_CLIP_CONFIG).is_file():
            raise ConfigError(f"config: encoders.{name}.architecture: {local} holds no {OPEN_CLIP_CONFIG}.")
        _check_sha256(definition, str(local), local / WEIGHTS)
        model_cfg = json.loads((local / OPEN_CLIP_CONFIG).read_text())["model_cfg"]
    else:
        model_cfg = open_clip.get_model_config(architecture)
        if model_cfg is None:
            raise ConfigError(
                f"config: encoders.{name}.architecture is {architecture!r}, which open_clip does not know; "
                "`python -c 'import open_clip; print(open_clip.list_models())'` lists those it knows."
            )
        if tag and not get_pretrained_cfg(architecture, tag):
            known = ", ".join(open_clip.pretrained.list_pretrained_tags_by_model(architecture)) or "none"
            raise ConfigError(
                f"config: encoders.{name}.pretrained is {tag!r}; open_clip has {known} for {architecture}."
            )
    if "image_px" in definition:
        model_cfg["vision_cfg"]["image_size"] = definition["image_px"]
    if local:
        model = _from_folder(name, definition, local)
    else:
        if source:
            fetched = _from_hub(name, definition, source, folder)
        model = _from_parts(name, definition, model_cfg, fetched, folder)
    tokenizer = _copy_tokenizer(name, model_cfg, local, folder)
    preprocess = {key: model.visual.preprocess_cfg[key] for key in PREPROCESSING}
    if tag:
        tag_cfg = get_pretrained_cfg(architecture, tag)
        preprocess |= {key: tag_cfg[key] for key in PREPROCESSING if key in tag_cfg}
    preprocess |= {key: definition[key] for key in ("mean", "std") if key in definition}
    write_json(folder / OPEN_CLIP_CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": preprocess})
    save_weights(model, folder / WEIGHTS)
    return [fetched, tokenizer]


def _from_folder(name: str, definition: Mapping[str, Any], local: Path) -> Any:
    """The model of a folder with a config and weights."""
    import open_clip

    size = {"force_image_size": definition["image_px"]} if "image_px" in definition else {}
    try:
        return open_clip.create_model(f"local-dir:{local}", require_pretrained=True, **size)
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"config: encoders.{name}.architecture {definition['architecture']!r} cannot be loaded: {first_line(error)}"
        ) from error


def _from_parts(
    name: str, definition: Mapping[str, Any], model_cfg: Mapping[str, Any], fetched: Snapshot | None, folder: Path
) -> Any:
    """A model of this config with the weights of a tag or a file, or random ones."""
    import open_clip
    import torch

    if "seed" in definition:
        torch.manual_seed(definition["seed"])
    model = _from_config(model_cfg, folder)
    if "weights" in definition:
        path = weight_file(definition)
    elif fetched:
        path = fetched.folder / fetched.files[-1]
    elif definition.get("pretrained"):
        path = _from_elsewhere(name, definition, folder)
    else:
        return model
    try:
        open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except (RuntimeError, KeyError, ValueError) as error:
        raise ConfigError(
            f"config: encoders.{name}.weights: {path} does not fit the architecture: {first_line(error)}"
        ) from error
    return model


def _from_elsewhere(name: str, definition: Mapping[str, Any], folder: Path) -> Path:
    """The weight file of a tag that open_clip has an address for which is not the hub's."""
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    known = get_pretrained_cfg(definition["architecture"], definition["pretrained"])
    try:
        return Path(download_pretrained(known, cache_dir=str(folder / DOWNLOAD)))
    except Exception as error:  # urllib's, of many kinds
        raise CladeclipError(
            f"encoder '{name}': {known.get('url')} could not be downloaded ({first_line(error)}). Run `snakemake "
            f"{folder}/encoder.json` where there is internet (a cluster's login node), or fetch that file by hand and give "
            f"encoders.{name} `weights: FILE` beside `pretrained`."
        ) from error


def _from_config(model_cfg: Mapping[str, Any], folder: Path) -> Any:
    """A randomly initialised model: open_clip builds from a folder that holds a config and no weights."""
    import open_clip

    bare = folder / DOWNLOAD / "bare"
    write_json(bare / OPEN_CLIP_CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": {}})
    return open_clip.create_model(f"local-dir:{bare}", load_weights=False, pretrained_text=False)


def _copy_tokenizer(name: str, model_cfg: Mapping[str, Any], local: Path | None, folder: Path) -> Snapshot | None:
    """Tokenizers of Hugging Face models travel with the weights; open_clip's own is part of the library.

    Returns:
        where it was downloaded from, if it was.
    """
    source = tokenizer_source(model_cfg)
    if source is None:
        return None
    import open_clip

    fetched = None
    if local is None or not any(local.glob("tokenizer*")):
        local = folder / DOWNLOAD / "tokenizer"
        try:
            fetched = source.bring(local)
        except HubError as error:
            raise CladeclipError(
                f"encoder '{name}': its tokenizer: {error}. Run this where there is internet (a cluster's login node)."
            ) from error
        write_json(local / OPEN_CLIP_CONFIG, {"model_cfg": model_cfg})
    open_clip.get_tokenizer(f"local-dir:{local}").save_pretrained(str(folder))
    return fetched


def _timm_folder(name: str, definition: Mapping[str, Any], folder: Path) -> Snapshot | None:
    import timm
    import torch
    from timm.models import save_for_hf

    architecture = definition["architecture"]
    pretrained = definition.get("pretrained")
    plain = not architecture.startswith(("hf-hub:", "local-dir:"))
    if plain and not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture}*")[:3]
        raise ConfigError(
            f"config: encoders.{name}.architecture is {architecture!r}, which timm does not know; "
            f"similar names: {', '.join(near) or 'none'}."
        )
    if "seed" in definition:
        torch.manual_seed(definition["seed"])
    full = f"{architecture}.{pretrained}" if pretrained else architecture
    source = encoder_source(definition)
    fetched = _from_hub(name, definition, source, folder) if source else None
    options: dict[str, Any] = {"pretrained": pretrained is not None or not plain, "cache_dir": str(folder / DOWNLOAD)}
    if fetched and plain:
        options["pretrained_cfg_overlay"] = {"file": str(fetched.folder / fetched.files[-1])}
    elif fetched:
        full = f"local-dir:{fetched.folder}"
    try:
        model: Any = timm.create_model(full, **options)
    except Exception as error:  # of several libraries, where timm names an address that is not the hub's
        raise CladeclipError(
            f"encoder '{name}': the weights of {full} could not be loaded ({first_line(error)}). Run "
            f"`snakemake {folder}/encoder.json` where there is internet (a cluster's login node), or fetch the weight "
            f"file by hand and give encoders.{name} `weights: FILE` instead of `pretrained`."
        ) from error
    if "weights" in definition:
        _load_timm_weights(name, model, definition)
    model.reset_classifier(0)
    data = timm.data.resolve_model_data_config(model)
    if "image_px" in definition:
        data["input_size"] = (3, definition["image_px"], definition["image_px"])
        # Every pixel of a small picture is wanted: the margin that crop_pct cuts off is for larger ones.
        data["crop_pct"] = 1.0
    data |= {key: tuple(definition[key]) for key in ("mean", "std") if key in definition}
    save_for_hf(model, str(folder), model_config={"num_classes": 0}, safe_serialization=True, data_config=data)
    return fetched


def _load_timm_weights(name: str, model: Any, definition: Mapping[str, Any]) -> None:
    from timm.models import load_state_dict

    path = weight_file(definition)
    stored = load_state_dict(str(path), weights_only=True)
    wanted = model.state_dict()
    if definition.get("match") == "position":
        # The same network under other names: its tensors come in the same order with the same shapes.
        same = len(stored) == len(wanted) and all(
            a.shape == b.shape for a, b in zip(stored.values(), wanted.values(), strict=True)
        )
        if not same:
            raise ConfigError(f"config: encoders.{name}.weights: {path} does not fit the architecture by position.")
        stored = dict(zip(wanted, stored.values(), strict=True))
    try:
        model.load_state_dict(stored, strict=True)
    except RuntimeError as error:
        raise ConfigError(
            f"config: encoders.{name}.weights: {path} does not fit the architecture: {first_line(error)}"
        ) from error


def _transformers_folder(name: str, definition: Mapping[str, Any], folder: Path) -> Snapshot | None:
    from cladeclip.encoders.vision_tower import save_vision_tower

    source = encoder_source(definition)
    fetched = _from_hub(name, definition, source, folder) if source else None
    local = str(fetched.folder) if fetched else definition["architecture"].removeprefix("local-dir:")
    try:
        save_vision_tower(local, folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"config: encoders.{name}.architecture {definition['architecture']!r} cannot be loaded: {first_line(error)}"
        ) from error
    return fetched


def note_changed_weights(weights: str | Path) -> None:
    """Brings encoder.json up to date where somebody replaced a file of an encoder folder: its embeddings are then stale.

    Only files whose size or time is not the one seen last are hashed.
    """
    for record_path in sorted(Path(weights).glob("*/encoder.json")):
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

    from cladeclip.atomic import atomic_path

    with atomic_path(path) as temporary:
        save_file({key: value.detach().contiguous().cpu() for key, value in model.state_dict().items()}, temporary)
        # It is written readable by its owner alone; a group shares its weights as it shares all other files.
        os.umask(mask := os.umask(0))
        temporary.chmod(0o666 & ~mask)
