"""Weights between those before and after training (WiSE-FT, Wortsman et al., CVPR 2022):

theta = theta_before + alpha (theta_after - theta_before)
"""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from cladeclip.encoders.weights import WEIGHTS
from cladeclip.io.atomic import atomic_path
from cladeclip.training.checkpoint import copy_beside_weights, record_origin


def interpolate(before: Path, after: Path, alpha: float, folder: Path) -> None:
    """Writes an encoder folder with the weights at `alpha` between two encoder folders of the same architecture.

    What is counted (of batch normalisation, say) is that of `after`.
    """
    copy_beside_weights(before, folder)
    with safe_open(before / WEIGHTS, framework="pt") as first, safe_open(after / WEIGHTS, framework="pt") as last:
        tensors = {}
        for name in last.keys():  # noqa: SIM118 (it is no mapping)
            tensor = last.get_tensor(name)
            if tensor.is_floating_point():
                start = first.get_tensor(name).float()
                tensor = start.lerp(tensor.float(), alpha).to(tensor.dtype)
            tensors[name] = tensor
        metadata = last.metadata()
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata)
    record_origin(before, folder)
