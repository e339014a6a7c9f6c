"""open_clip, without what the encoder at hand does not need of it.

open_clip imports transformers wherever that is installed, which takes as long as torch itself; only models with a text
tower of that library use it.
"""

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

# Set in the jobs of the workflow (see `job_environment.py`), whose process loads one encoder and ends.
IN_JOB = "CLADECLIP_JOB"


def open_clip_for(model_cfg: Mapping[str, Any] | None) -> ModuleType:
    """The library, as a model of this config (None: any model) needs it.

    transformers is left out in jobs alone: elsewhere the same process may load other models with open_clip later.
    """
    if IN_JOB in os.environ and model_cfg is not None and not has_transformers_text_tower(model_cfg):
        return _without_transformers()
    import open_clip

    return open_clip


def has_transformers_text_tower(model_cfg: Mapping[str, Any]) -> bool:
    return bool(model_cfg.get("text_cfg", {}).get("hf_model_name"))


def _without_transformers() -> ModuleType:
    hidden = "transformers" not in sys.modules
    if hidden:
        sys.modules["transformers"] = None  # type: ignore[assignment]  # importing it then fails, as if not installed
    try:
        import open_clip
    finally:
        if hidden:
            del sys.modules["transformers"]
    return open_clip
