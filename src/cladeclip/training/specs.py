"""The losses of training: what the config knows of them, without torch. A loss is a class; see losses.py."""

from cladeclip.registry import place_of

# What `train.loss` can be, and where it is.
LOSSES = {"arcface": "cladeclip.training.losses:ArcFace", "cosface": "cladeclip.training.losses:CosFace"}


def loss_place(name: str, word: str = "loss") -> str:
    """Where the code of a loss is, as `module:name`.

    Raises:
        ConfigError: there is none of this name.
    """
    return place_of(word, name, LOSSES, "cladeclip.losses")
