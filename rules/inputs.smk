# Inputs and params of rules that depend on the wildcards and the config. Nothing here imports torch.
import hashlib

from cladeclip.captioning.specs import kind_named
from cladeclip.datasets.listing import pictures_below


def kind_of(wildcards):
    return kind_named(known("captioners", wildcards.captioner)["kind"])


def writes_captions(wildcards):
    """Whether a model writes the captions, and not a template or a table."""
    return kind_of(wildcards).model


def caption_file(wildcards):
    key = kind_of(wildcards).file
    return known("captioners", wildcards.captioner)[key] if key else []


def caption_model(wildcards):
    return WEIGHTS.captioner(wildcards.captioner) if writes_captions(wildcards) else []


def weight_file_of(wildcards):
    weights = known("encoders", wildcards.encoder).get("weights", "")
    return weights if weights and not weights.startswith("python-package:") else []


def new_pictures(wildcards):
    """What tells whether the new pictures are others than last time: their names, sizes and times."""
    folder = config["identify"]["images"]
    if not folder:
        raise WorkflowError("config: identify.images is empty; name the folder of the new pictures.")
    try:
        seen = pictures_below(folder).to_csv(index=False)
    except CladeclipError as error:
        raise WorkflowError(f"config: identify.images: {error}") from error
    return hashlib.sha256(seen.encode()).hexdigest()[:16]
