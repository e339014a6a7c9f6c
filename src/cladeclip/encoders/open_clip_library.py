"""Imports open_clip without the optional libraries that the encoder at hand does not need.

open_clip imports transformers and timm wherever they are installed, which together take as long as torch itself; only models
with a tower of these libraries use them.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

# Set in the jobs of the workflow (see `run/job_environment.py`), which load one kind of encoder and end.
IN_JOB = "CLADECLIP_JOB"
# The libraries that are optional for open_clip: which tower in a model's config is theirs, and what in open_clip wraps it.
OPTIONAL = {
    "transformers": ("text_cfg", "hf_model_name", "open_clip.hf_model"),
    "timm": ("vision_cfg", "timm_model_name", "open_clip.timm_model"),
}
# torch's compiler, of which torchvision calls one function when it is imported.
COMPILER = "torch._dynamo"
ASKED = f"{COMPILER}.utils"


def open_clip_for(model_cfg: Mapping[str, Any] | None) -> ModuleType:
    """The library, as a model of this config (None: any model) needs it.

    What it does not need is left out in jobs alone: elsewhere the same process may load other models with open_clip later.
    """
    needed = {
        library
        for library, (tower, key, _) in OPTIONAL.items()
        if IN_JOB not in os.environ or model_cfg is None or model_cfg.get(tower, {}).get(key)
    }
    hidden = [library for library in OPTIONAL if library not in needed and library not in sys.modules]
    _import_torchvision()
    # None there makes importing it fail, as if it were not installed.
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]
    try:
        import open_clip
    finally:
        for library in hidden:
            del sys.modules[library]
    for library in needed:
        wrapper = importlib.import_module(OPTIONAL[library][2])
        if getattr(wrapper, library) is None:
            importlib.reload(wrapper)  # an encoder before this one did without
    return open_clip


def _import_torchvision() -> None:
    """Imports torchvision, in jobs without torch's compiler: that takes as long as the rest of torch.

    The only effect is that torchvision's `roi_align` is not compiled. torch itself imports its compiler when it is
    first needed (an optimiser does), here as elsewhere.
    """
    if IN_JOB not in os.environ or COMPILER in sys.modules or "torchvision" in sys.modules:
        return
    stand_in: Any = ModuleType(ASKED)
    stand_in.is_compile_supported = lambda device: False
    sys.modules |= {COMPILER: ModuleType(COMPILER), ASKED: stand_in}
    try:
        importlib.import_module("torchvision")
    except ImportError:  # another version, which asks otherwise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    finally:
        del sys.modules[COMPILER], sys.modules[ASKED]
