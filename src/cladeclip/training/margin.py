"""Margin logits: ArcFace (Deng et al., CVPR 2019) and CosFace (Wang et al., CVPR 2018), with inter-class filtering.

target logit      m3 = 0 (ArcFace):  s * cos(arccos(cos) + m2)
                  m3 > 0 (CosFace):  s * (cos - m3)
other logits      s * cos, or 0 where cos > filter (filter > 0)
"""

import torch
from torch import Tensor

# arccos has an infinite slope at +-1; float32 can still tell this apart from 1.
EXACT_CLAMP = 1.0 - 1e-7


def margin_logits(
    cosines: Tensor, target: Tensor, *, s: float, m2: float, m3: float, filter_above: float, gradient: str
) -> Tensor:
    """Logits (n, c) from cosines (n, c) in [-1, 1].

    Args:
        target: (n,) int64, the column of each row's own class; -1 where it is not among the columns.
        s: scale.
        m2, m3: angular and cosine margin; only one of them may be above 0.
        filter_above: inter-class filtering; 0 is off.
        gradient: of the angular margin. `straight_through` is the published code's: the forward value has the margin,
            the backward pass sees d(target logit)/d cos = s. `exact` differentiates through arccos and cos.
    """
    # Without indices of the rows that have one: how many there are, a GPU would have to be waited for.
    column = target.clamp(min=0)[:, None]
    target_cosine = cosines.gather(1, column)
    if m3 > 0:
        with_margin = target_cosine - m3
    elif gradient == "exact":
        with_margin = torch.cos(torch.arccos(target_cosine.clamp(-EXACT_CLAMP, EXACT_CLAMP)) + m2)
    else:
        shift = torch.cos(torch.arccos(target_cosine.detach()) + m2) - target_cosine.detach()
        with_margin = target_cosine + shift
    if filter_above > 0:
        cosines = cosines.masked_fill(cosines > filter_above, 0.0)
    own = (target >= 0)[:, None]
    return s * cosines.scatter(1, column, torch.where(own, with_margin, cosines.gather(1, column)))
