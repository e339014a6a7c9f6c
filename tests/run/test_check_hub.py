"""`make check-hub` against the stand-in of the hub: as the default config assumes it, and with planted differences."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from hub.client import environment
from hub.repositories import as_assumed
from hub.stand_in import Hub


@pytest.fixture
def repositories(tmp_path):
    return as_assumed(tmp_path / "hub")


def checked(repositories, home, *arguments):
    """Exit status and output of the command, with the folder of its repositories as it is now."""
    with Hub(*repositories.values()) as hub:
        done = subprocess.run(
            [sys.executable, "-m", "cladeclip.run.check_hub", *arguments],
            cwd=REPOSITORY, env=environment(hub, home), capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        large = [line for line in hub.requests if line.endswith((".bin", ".safetensors", ".jpg"))]
    assert not large
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_the_hub_as_assumed_and_with_every_kind_of_difference(repositories, tmp_path):
    status, said = checked(repositories, tmp_path / "home")
    assert status == 0, said
    assert "All is as the config assumes." in said
    assert "10,347 of the 10,347 pictures listed for Fish are there" in said
    assert "0 of the 11,092 pictures listed for Bird are there" in said

    folder = {name: repository.folder for name, repository in repositories.items()}
    repositories["apple/DFN5B-CLIP-ViT-H-14-378"].licence = "other"
    config = folder["timm/vit_base_patch32_clip_224.openai"] / "open_clip_config.json"
    changed = json.loads(config.read_text())
    changed["model_cfg"]["quick_gelu"] = False
    changed["preprocess_cfg"]["resize_mode"] = "squash"
    config.write_text(json.dumps(changed))
    weights = folder["laion/CLIP-ViT-B-32-laion2B-s34B-b79K"] / "open_clip_pytorch_model.bin"
    weights.rename(weights.with_name("weights.bin"))
    del repositories["imageomics/bioclip"]
    tokenizer = folder["OpenGVLab/InternVL3-2B-hf"] / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text().replace('"video_token": "<video>"', '"other_token": "<video>"'))
    data = folder["imageomics/VLM4Bio"] / "datasets"
    (data / "Fish" / "chunk_3" / "Fish_3000.jpg").unlink()
    with (data / "Butterfly" / "metadata" / "metadata_10k.csv").open("a") as file:
        file.write("10013,Butterfly_10013.jpg,Genus species\n")
    for repository in repositories.values():
        repository.read_again()

    status, said = checked(repositories, tmp_path / "home")
    assert status == 1
    differs = [line for line in said.splitlines() if line.startswith("DIFFERS")]
    for words in (
        "encoder vit-h: licence other, in the config apple-amlr",
        "encoder vit-b-32: quick_gelu is False, and of ViT-B-32-quickgelu / openai True",
        "encoder vit-b-32: resize_mode is squash, and of ViT-B-32-quickgelu / openai shortest",
        "encoder openclip-b-32: laion/CLIP-ViT-B-32-laion2B-s34B-b79K at main has none of open_clip_model.safetensors",
        "encoder bioclip: the hub has no repository imageomics/bioclip, or it is not public",
        "captioner internvl: captioner: the processor in",
        "pictures: 31,453 pictures are listed, not 31,452",
        "pictures: 10,346 of the 10,347 pictures listed for Fish are there, not 10,347",
        "pictures: 10,013 of the 10,014 pictures listed for Butterfly are there, not 10,014",
    ):
        assert any(words in line for line in differs), (words, differs)
    assert len(differs) == 9


def test_what_has_no_repository_is_not_asked_for(repositories, tmp_path):
    status, said = checked(repositories, tmp_path / "home", "config/demo.yaml")
    assert (status, said.strip()) == (0, "All is as the config assumes.")
