"""Which part of a student is trained: all of it, all but its stem, or its last blocks alone."""

import re
from typing import Any

from torch import nn

from cladeclip.errors import ConfigError

# In timm's notation: what belongs to the stem, which number in a name is the block's, and what follows the last block.
AFTER_THE_LAST = (99999,)
OPEN_CLIP_VIT = {
    "stem": r"^(?:class_embedding|positional_embedding|conv1|ln_pre|patchnorm_pre_ln)",
    "blocks": [(r"^transformer\.resblocks\.(\d+)", None), (r"^(?:ln_post|proj|attn_pool)", AFTER_THE_LAST)],
}
OPEN_CLIP_RESNET = {
    "stem": r"^(?:conv|bn)\d",
    "blocks": [(r"^layer(\d+)", None), (r"^attnpool", AFTER_THE_LAST)],
}


def blocks_of(tower: Any) -> list[list[str]]:
    """The names of a tower's parameters, grouped: the stem, each block; what follows the last block belongs to it.

    Raises:
        ConfigError: the blocks of such a tower are not known.
    """
    from timm.models import group_parameters

    prefix = "trunk." if hasattr(tower, "trunk") else ""
    inner = tower.trunk if prefix else tower
    if hasattr(inner, "group_matcher"):
        matcher = inner.group_matcher()
    elif hasattr(inner, "transformer"):
        matcher = OPEN_CLIP_VIT
    elif hasattr(inner, "attnpool"):
        matcher = OPEN_CLIP_RESNET
    else:
        raise ConfigError(
            f"config: train.freeze needs a student whose blocks are known, which {type(inner).__name__} is not; use none."
        )
    groups = group_parameters(inner, matcher)
    blocks = [[prefix + name for name in groups[number]] for number in sorted(groups)]
    named = {name for block in blocks for name in block}
    blocks[-1] += [name for name, _ in tower.named_parameters() if name not in named]
    return blocks


def freeze(tower: nn.Module, what: str) -> None:
    """Sets requires_grad to False for the parameters that are not trained.

    Args:
        what: `none`, `stem`, or `all_but_last_N`: only the last N blocks, and what follows them, are trained.

    Raises:
        ConfigError: the tower has fewer blocks than that.
    """
    if what == "none":
        return
    blocks = blocks_of(tower)
    if what == "stem":
        frozen = blocks[:1]
    else:
        kept = int(re.sub(r"\D", "", what))
        if kept >= len(blocks):
            raise ConfigError(
                f"config: train.freeze is {what!r}, but the student has {len(blocks) - 1} blocks and a stem; "
                "use a smaller number, stem, or none."
            )
        frozen = blocks[:-kept]
    parameters = dict(tower.named_parameters())
    for name in (name for block in frozen for name in block):
        parameters[name].requires_grad_(False)
