"""Models of the timm library without classifier: what they return is the embedding."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg as config_of_tag
from timm.models import load_state_dict, save_for_hf

from cladeclip.encoders.encoder import Encoder, as_floats
from cladeclip.encoders.hub_sources import HubSource, safe_first
from cladeclip.encoders.specs import HUB, LOCAL
from cladeclip.encoders.weights import DOWNLOAD, from_hub, weight_file
from cladeclip.encoders.weights import save_weights as save
from cladeclip.errors import CladeclipError, ConfigError, first_line
from cladeclip.hub import Snapshot

# Weight files of a repository in the order of preference.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin")

__all__ = ["differences", "load", "make", "save", "source"]


def source(definition: Mapping[str, Any]) -> HubSource | None:
    """Where the weights lie on the hub: those of a repository that is named, or of timm's own tag."""
    architecture, tag, revision = (
        definition["architecture"],
        definition.get("pretrained"),
        definition.get("revision", "main"),
    )
    if "weights" in definition:
        return None
    if architecture.startswith(HUB):
        return HubSource(architecture.removeprefix(HUB), revision, WEIGHT_FILES, ("config.json",))
    known = config_of_tag(f"{architecture}.{tag}") if tag else None
    if known is None or not known.hf_hub_id:
        return None
    return HubSource(known.hf_hub_id, revision, safe_first(known.hf_hub_filename) or WEIGHT_FILES)


def make(name: str, definition: Mapping[str, Any], folder: Path) -> list[Snapshot]:
    architecture = definition["architecture"]
    pretrained = definition.get("pretrained")
    plain = not architecture.startswith((HUB, LOCAL))
    if plain and not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture}*")[:3]
        raise ConfigError(
            f"config: encoders.{name}.architecture is {architecture!r}, which timm does not know; "
            f"similar names: {', '.join(near) or 'none'}."
        )
    if "seed" in definition:
        torch.manual_seed(definition["seed"])
    full = f"{architecture}.{pretrained}" if pretrained else architecture
    found = source(definition)
    fetched = from_hub(name, definition, found, folder) if found else None
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
        _load_weights(name, model, definition)
    model.reset_classifier(0)
    data = timm.data.resolve_model_data_config(model)
    if "image_px" in definition:
        data["input_size"] = (3, definition["image_px"], definition["image_px"])
        # Every pixel of a small picture is wanted: the margin that crop_pct cuts off is for larger ones.
        data["crop_pct"] = 1.0
    data |= {key: tuple(definition[key]) for key in ("mean", "std") if key in definition}
    save_for_hf(model, str(folder), model_config={"num_classes": 0}, safe_serialization=True, data_config=data)
    return [fetched] if fetched else []


def _load_weights(name: str, model: Any, definition: Mapping[str, Any]) -> None:
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


def load(folder: Path) -> Encoder:
    # num_classes 0: the pooled features are the embedding.
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    data = timm.data.resolve_model_data_config(model)
    return Encoder(
        family="timm",
        dim=int(model.num_features),
        image_px=int(data["input_size"][-1]),
        mean=as_floats(data["mean"]),
        std=as_floats(data["std"]),
        interpolation=str(data["interpolation"]),
        transform=timm.data.create_transform(**data, is_training=False),
        tower=model,
        model=model,
    )


def differences(definition: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """Whether the library that is installed has the architecture of a repository's config."""
    named = theirs.get("architecture")
    yield timm.is_model(str(named)), f"timm {timm.__version__} and its architecture {named}"
