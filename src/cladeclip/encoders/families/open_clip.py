"""Models of the open_clip library: with an image and a text tower, as a folder of open_clip_config.json and weights."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cladeclip.encoders.encoder import Encoder, as_floats
from cladeclip.encoders.hub_sources import HubSource, safe_first, tokenizer_source
from cladeclip.encoders.open_clip_library import open_clip_for
from cladeclip.encoders.specs import HUB, IN_PACKAGE, LOCAL, WEIGHTS
from cladeclip.encoders.weights import DOWNLOAD, check_sha256, from_hub, inside_package, weight_file
from cladeclip.encoders.weights import save_weights as save
from cladeclip.errors import CladeclipError, ConfigError, first_line
from cladeclip.hub import HubError, Snapshot
from cladeclip.io.atomic import write_json

CONFIG = "open_clip_config.json"
# Weight files of a repository in the order of preference.
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
# What of a picture's preprocessing its config holds.
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
# Keys of an architecture's config that determine what a model computes.
ARCHITECTURE = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")

__all__ = ["bare_tower", "differences", "load", "make", "save", "source"]


def source(definition: Mapping[str, Any]) -> HubSource | None:
    """Where the weights lie on the hub: those of a repository that is named, or of open_clip's own tag."""
    architecture, tag, revision = (definition.get(key) for key in ("architecture", "pretrained", "revision"))
    if "weights" in definition or not isinstance(architecture, str):
        return None
    if architecture.startswith(HUB):
        return HubSource(architecture.removeprefix(HUB), revision or "main", WEIGHT_FILES, (CONFIG,))
    if not tag:
        return None
    from open_clip.pretrained import get_pretrained_cfg

    repository, _, file = get_pretrained_cfg(architecture, tag).get("hf_hub", "").rpartition("/")
    return HubSource(repository, revision or "main", safe_first(file) or WEIGHT_FILES) if repository else None


def make(name: str, definition: Mapping[str, Any], folder: Path) -> list[Snapshot]:
    architecture, tag = definition["architecture"], definition.get("pretrained")
    local = None
    if isinstance(architecture, str) and architecture.startswith(IN_PACKAGE):
        local = inside_package(architecture)
    elif isinstance(architecture, str) and architecture.startswith(LOCAL):
        local = Path(architecture.removeprefix(LOCAL))
    open_clip = open_clip_for(architecture if isinstance(architecture, Mapping) else None)
    from open_clip.pretrained import get_pretrained_cfg

    found, fetched = source(definition) if local is None else None, None
    if found and architecture.startswith(HUB):
        fetched = from_hub(name, definition, found, folder)
        local = fetched.folder
    if isinstance(architecture, Mapping):
        model_cfg = json.loads(json.dumps(architecture))
    elif local:
        if not (local / CONFIG).is_file():
            raise ConfigError(f"config: encoders.{name}.architecture: {local} holds no {CONFIG}.")
        check_sha256(definition, str(local), local / WEIGHTS)
        model_cfg = json.loads((local / CONFIG).read_text())["model_cfg"]
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
        if found:
            fetched = from_hub(name, definition, found, folder)
        model = _from_parts(name, definition, model_cfg, fetched, folder)
    tokenizer = _copy_tokenizer(name, model_cfg, local, folder)
    preprocess = {key: model.visual.preprocess_cfg[key] for key in PREPROCESSING}
    if tag:
        tag_cfg = get_pretrained_cfg(architecture, tag)
        preprocess |= {key: tag_cfg[key] for key in PREPROCESSING if key in tag_cfg}
    preprocess |= {key: definition[key] for key in ("mean", "std") if key in definition}
    write_json(folder / CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": preprocess})
    save(model, folder / WEIGHTS)
    return [one for one in (fetched, tokenizer) if one]


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
    """The weight file of a tag that open_clip downloads from another address than the hub."""
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
    write_json(bare / CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": {}})
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
        write_json(local / CONFIG, {"model_cfg": model_cfg})
    open_clip.get_tokenizer(f"local-dir:{local}").save_pretrained(str(folder))
    return fetched


def load(folder: Path) -> Encoder:
    if not (folder / WEIGHTS).is_file():
        raise CladeclipError(f"{folder}: {WEIGHTS} is missing; delete the folder and run again to rebuild it.")
    model_cfg = json.loads((folder / CONFIG).read_text())["model_cfg"]
    open_clip = open_clip_for(model_cfg)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    preprocess: dict[str, Any] = model.visual.preprocess_cfg
    size = preprocess["size"]

    @cache
    def tokenizer() -> Any:
        """Made for the first caption: some tokenizers need transformers, and pictures need no tokenizer."""
        return open_clip.get_tokenizer(f"local-dir:{folder}")

    @torch.inference_mode()
    def encode_text(captions: Sequence[str]) -> Tensor:
        model.eval()
        device = next(model.parameters()).device
        return model.encode_text(tokenizer()(list(captions)).to(device)).float()

    def count_tokens(caption: str) -> int:
        tokenize = tokenizer()
        if hasattr(tokenize, "encode"):
            return len(tokenize.encode(caption)) + 2  # and the tokens that mark start and end
        return len(tokenize.tokenizer(caption)["input_ids"])

    return Encoder(
        family="open_clip",
        dim=_output_dim(model.visual, size),
        image_px=size if isinstance(size, int) else int(size[0]),
        mean=as_floats(preprocess["mean"]),
        std=as_floats(preprocess["std"]),
        interpolation=preprocess["interpolation"],
        transform=transform,
        tower=model.visual,
        model=model,
        encode_text=encode_text,
        count_tokens=count_tokens,
        context_length=model_cfg.get("text_cfg", {}).get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
    )


def _output_dim(tower: Any, size: Any) -> int:
    if hasattr(tower, "output_dim"):
        return int(tower.output_dim)
    side = size if isinstance(size, int) else int(size[0])
    with torch.inference_mode():
        return int(tower(torch.zeros(1, 3, side, side)).shape[-1])


def bare_tower(architecture: str, image_px: int | None) -> tuple[nn.Module, int, int, int] | None:
    """Uninitialised image tower, length of an embedding, side of its input, and bytes of all weights; None where only a
    download tells them. The weights may be several GB: they are neither initialised nor written.
    """
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None or config["text_cfg"].get("hf_model_name"):
        return None
    with torch.device("meta"):
        model: Any = open_clip.create_model(
            architecture, load_weights=False, pretrained_text=False, device="meta", force_image_size=image_px
        )
    size = model.visual.image_size
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    tower = model.visual.to_empty(device="cpu")
    return tower, config["embed_dim"], size if isinstance(size, int) else size[0], weights


def differences(definition: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """Whether a repository's config is that of the architecture and the tag which the definition names."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    architecture, tag = definition["architecture"], definition.get("pretrained")
    if not tag:
        return
    pairs = {
        key: (open_clip.get_model_config(architecture).get(key), theirs["model_cfg"].get(key)) for key in ARCHITECTURE
    }
    known = get_pretrained_cfg(architecture, tag)
    preprocess = theirs.get("preprocess_cfg", {})
    pairs |= {key: (known[key], preprocess[key]) for key in PREPROCESSING if key in known and key in preprocess}
    different = {key: pair for key, pair in pairs.items() if _plain(pair[0]) != _plain(pair[1])}
    for key, (assumed, found) in different.items():
        yield False, f"{key} is {found}, and of {architecture} / {tag} {assumed}"
    if not different:
        yield True, f"its config is that of {architecture} / {tag}"


def _plain(value: Any) -> Any:
    """Tuples as lists, and nothing of what is false or missing."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item not in (None, False)}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value or None
