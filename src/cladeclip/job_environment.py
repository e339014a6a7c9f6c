"""The environment variables that every job of the workflow starts with."""

import os
from pathlib import Path


def prepare_environment(source: str | Path) -> None:
    """Lets jobs find the package below `source`, and keeps them off the internet.

    The first matters in environments where the package is not installed (`--sdm conda`). Compute nodes have no internet:
    what must be downloaded is downloaded by the fetch rules, which lift the second.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
