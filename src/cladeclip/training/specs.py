"""The losses of training: what the config knows of them, without torch. A loss is a class; see losses.py."""

from cladeclip.registry import place_of

# What `train.loss` can be: where it is, and what the config says of it.
LOSSES = {
    "arcface": ("cladeclip.training.losses:ArcFace", "margin_loss_m2"),
    "cosface": ("cladeclip.training.losses:CosFace", "margin_loss_m3"),
}


def loss_place(name: str, word: str = "loss") -> str:
    """Where the code of a loss is, as `module:name`.

    Raises:
        ConfigError: there is none of this name.
    """
    return place_of(word, name, {ours: place for ours, (place, _) in LOSSES.items()}, "cladeclip.losses")
