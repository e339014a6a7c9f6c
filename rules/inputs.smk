# What of the inputs and params of rules the wildcards and the config decide. Nothing here imports torch.
import hashlib

from cladeclip.datasets.listing import pictures_below


def writes_captions(wildcards):
    """Whether a model does it, and not a template or a table."""
    return known("captioners", wildcards.captioner)["kind"] == "internvl"


def caption_file(wildcards):
    captioner = known("captioners", wildcards.captioner)
    return captioner["path"] if captioner["kind"] == "file" else []


def caption_model(wildcards):
    return WEIGHTS.captioner(wildcards.captioner) if writes_captions(wildcards) else []


def weight_file_of(wildcards):
    weights = known("encoders", wildcards.encoder).get("weights", "")
    return weights if weights and not weights.startswith("python-package:") else []


def of_family(family):
    """A wildcard constraint that only encoders of this family fit."""
    return "|".join(name for name, encoder in ENCODERS.items() if encoder["family"] == family) or "(?!)"


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
