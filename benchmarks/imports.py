"""What starting a job costs, beside the libraries that it uses: CPU seconds of an empty job of each kind. `make imports`.

An empty job imports what its script imports, and what that imports when it is called; one that embeds or trains also loads a
tiny encoder. Ends with status 1 where a kind takes more than its share.
"""

import ast
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.run.job_environment import prepare_environment

REPOSITORY = Path(__file__).parents[1]
TURNS = 1
# As long as it looks like too much: a machine with other work to do needs more for its least.
MOST_TURNS = 12
DEMO = yaml.safe_load((REPOSITORY / "config" / "demo.yaml").read_text(encoding="utf-8"))
ENCODERS = {
    "open_clip": DEMO["encoders"]["specimen-vit"],
    "timm": {"family": "timm", "architecture": "test_vit", "seed": 5},
    "handcrafted": {"family": "handcrafted"},
}
TABLES = "import torch, pandas, pyarrow.parquet, sklearn.metrics"
NETWORKS = "import torch, torchvision, pandas, pyarrow.parquet"
LOADED = "from cladeclip.encoders.load import load_encoder; encoder = load_encoder({folder!r})"
FITTED = f"import torch; {LOADED}; torch.optim.AdamW(encoder.tower.parameters())"
# Kind of job: its script, what it does beyond importing, the libraries, and how many times as long as these it may take.
KINDS = {
    "evaluate": ("evaluate", "import torch, sklearn.linear_model", TABLES, 1.3),
    "hierarchy": ("hierarchy", "", TABLES, 1.3),
    "cluster": ("cluster", "", "import pandas, pyarrow.parquet, sklearn.metrics, faiss", 1.3),
    "embed, open_clip": ("embed", LOADED, NETWORKS, 1.3),
    "embed, timm": ("embed", LOADED, NETWORKS, 1.3),
    "embed, handcrafted": ("embed", LOADED, NETWORKS, 1.3),
    "train, open_clip": ("train", FITTED, NETWORKS, 1.3),
    "train, timm": ("train", FITTED, NETWORKS, 1.3),
}


def imports_of(script: str) -> str:
    tree = ast.parse((REPOSITORY / "workflow" / "scripts" / f"{script}.py").read_text())
    return "\n".join(ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))


def cpu_seconds(code: str) -> float:
    """User and system time of an interpreter that runs the code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    prepare_environment(REPOSITORY / "src")
    os.environ["OMP_NUM_THREADS"] = "1"
    over = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, definition in ENCODERS.items():
            make_encoder_folder("tiny", definition, Path(temporary, name))
        print(f"{'an empty job':20} {'CPU s':>6} {'libraries':>10} {'ratio':>6} {'at most':>8}")
        for kind, (script, more, libraries, share) in KINDS.items():
            code = f"{imports_of(script)}\n{more.format(folder=str(Path(temporary, kind.rpartition(' ')[2])))}"
            # Turn by turn, the least of each: what else runs here hits both.
            turns: list[tuple[float, float]] = []
            ours, theirs = math.inf, 0.0
            while len(turns) < TURNS or (ours > share * theirs and len(turns) < MOST_TURNS):
                turns.append((cpu_seconds(code), cpu_seconds(libraries)))
                ours, theirs = (min(seconds) for seconds in zip(*turns, strict=True))
            print(f"{kind:20} {ours:6.2f} {theirs:10.2f} {ours / theirs:6.2f} {share:8.1f}", flush=True)
            if ours > share * theirs:
                over.append(kind)
    if over:
        sys.exit(f"More than their share: {', '.join(over)}.")


if __name__ == "__main__":
    main()
