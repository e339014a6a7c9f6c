"""What a process imports that loads one encoder, as a job does it."""

import ast
import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from cladeclip.encoders.open_clip_library import IN_JOB
from cladeclip.encoders.weights import make_encoder_folder

HEAVY = ("transformers", "timm", "open_clip", "sklearn", "scipy.stats", "faiss", "altair", "matplotlib")
CODE = """
import json, sys
from cladeclip.encoders.load import load_encoder
for folder in sys.argv[1:]:
    load_encoder(folder)
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""


def imported(*folders, **environment):
    command = [sys.executable, "-W", "ignore", "-c", CODE.format(heavy=HEAVY), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def with_timm_tower(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm-tower")
    architecture = {
        "embed_dim": 16,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_model_pretrained": False, "image_size": 160},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    make_encoder_folder("it", {"family": "open_clip", "architecture": architecture, "seed": 5}, folder)
    return folder


def test_a_job_imports_what_its_encoders_need_and_no_more(student, with_timm_tower, tmp_path):
    make_encoder_folder("handmade", {"family": "handcrafted"}, tmp_path / "handmade")
    make_encoder_folder("timm", {"family": "timm", "architecture": "test_vit", "seed": 5}, tmp_path / "timm")
    assert imported(tmp_path / "handmade", **{IN_JOB: "1"}) == set()
    assert imported(tmp_path / "timm", **{IN_JOB: "1"}) == {"timm"}
    assert imported(student, **{IN_JOB: "1"}) == {"open_clip"}
    # One after the other: the second needs what the first did without.
    assert imported(student, with_timm_tower, **{IN_JOB: "1"}) == {"open_clip", "timm"}


# What the scripts themselves import of HEAVY; what their encoders need comes when they are loaded.
OF_SCRIPTS = {"control": {"sklearn", "scipy.stats"}}
LIGHT = [
    "train",
    "embed",
    "embed_text",
    "zero_shot",
    "fuse",
    "join_shards",
    "prepare",
    "split",
    "store",
    "caption",
    "manifest",
]
OTHERS = ["fetch_weights", "fetch_captioner"]


@pytest.mark.parametrize("script", [*LIGHT, *OTHERS, *OF_SCRIPTS])
def test_a_script_imports_no_heavy_library_that_it_does_not_use(script):
    tree = ast.parse((REPOSITORY / "workflow" / "scripts" / f"{script}.py").read_text())
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    code = "\n".join(["import json, sys", *imports, f"print(json.dumps([n for n in {HEAVY} if n in sys.modules]))"])
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={IN_JOB: "1"})
    assert set(json.loads(done.stdout)) == OF_SCRIPTS.get(script, set())


def test_torchs_compiler_is_imported_by_what_needs_it_and_is_the_real_one(student):
    code = """
import json, sys
from cladeclip.encoders.load import load_encoder
encoder = load_encoder(sys.argv[1])
without = "torch._dynamo" not in sys.modules
import torch, torchvision
double = torch.compile(lambda x: 2 * x, backend="eager")
boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
pooled = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), [boxes], 2)
real = "symbolic_convert" in dir(torch._dynamo)
print(json.dumps([without, double(torch.ones(2)).tolist(), pooled.flatten().tolist(), real]))
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(student)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={IN_JOB: "1"})
    assert json.loads(done.stdout) == [True, [2.0, 2.0], [1.0, 1.0, 1.0, 1.0], True]


def test_outside_of_jobs_open_clip_is_whole(student):
    assert {"open_clip", "timm", "transformers"} <= imported(student)
