"""What `make doctor` says: of this machine, and of runs whose needs can be counted by hand."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, copy_configs
from PIL import Image

from cladeclip.config.check import complete
from cladeclip.config.files import merged
from cladeclip.datasets.addresses import picture_path
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.speed import speed_of
from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.errors import size_in_words
from cladeclip.plan import encoders_in_use
from cladeclip.run import doctor, needs


def test_the_demo_can_run_here():
    done = subprocess.run(
        [sys.executable, "-m", "cladeclip.run.doctor"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("The demo can run: make demo\n")
    for thing in (
        "Python 3.",
        "of disk are free",
        "GB of memory are free",
        "faiss",
        "vit-h",
        "captioner internvl",
        "31,452 pictures",
        "Time, one job after the other",
        "Not in these: bioclip, bioclip-2",
    ):
        assert thing in done.stdout


def test_a_machine_that_is_too_small_is_an_exit_status(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "DEMO_DISK", 10**9)
    monkeypatch.chdir(REPOSITORY)
    assert doctor.main(["config/demo.yaml"]) == 1
    said = capsys.readouterr().out
    assert "BAD " in said
    assert "The demo cannot run before what is BAD above is mended." in said


def test_a_faulty_config_is_its_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "my.yaml").write_text("trian: {}")
    assert doctor.main([str(tmp_path / "my.yaml")]) == 0
    said = capsys.readouterr().out
    assert "BAD   config: trian is not a known key" in said
    assert said.endswith("This run cannot be done before what is BAD above is mended.\n\nThe demo can run: make demo\n")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The demo's config in an empty folder."""
    monkeypatch.chdir(tmp_path)
    copy_configs(Path("config"))
    config = merged(["config/config.yaml", "config/demo.yaml"])
    complete(config)
    return config


def test_weights_are_there_or_come_or_must_be_brought(run):
    run["encoders"]["far"] = {"family": "open_clip", "architecture": "ViT-B-32", "pretrained": "openai"}
    run["encoders"]["by-hand"] = {"family": "timm", "architecture": "test_vit", "weights": "weights/by-hand.pt"}
    run["baselines"] = ["far", "by-hand"]
    said = dict(sentence.split(": ", 1) for _, sentence in doctor.weights(run))
    assert said["specimen-vit"] == said["drawn-clip"] == "needs no download."
    assert said["far"].startswith("will be downloaded from timm/vit_base_patch32_clip_224.openai")
    assert said["by-hand"].startswith("put its weights at weights/by-hand.pt")
    make_encoder_folder("specimen-vit", run["encoders"]["specimen-vit"], "weights/specimen-vit")
    assert ("ok  ", "specimen-vit: its weights are in weights/specimen-vit.") in list(doctor.weights(run))


def test_pictures_and_birds_are_counted_before_a_run_fetches_them(run, specimens):
    run["dataset"] |= {"source": "fetch", "root": "data/datasets"}
    (_, nothing), (_, birds) = doctor.images(run)
    assert nothing.startswith("VLM4Bio: will be downloaded into data/datasets")
    assert "CUB_200_2011.tgz" in birds
    shutil.copytree(specimens, "data/datasets")
    assert list(doctor.images(run)) == [("ok  ", "VLM4Bio: 54 of 54 pictures lie in data/datasets.")]
    shutil.rmtree("data/datasets/Bird/images")
    (status, there), (_, birds) = doctor.images(run)
    assert (status, there) == ("note", "VLM4Bio: 36 of 54 pictures lie in data/datasets.")
    assert "download https://data.caltech.edu" in birds
    run["dataset"]["source"] = "folder"
    assert list(doctor.images(run)) == []


def test_what_a_run_needs_is_counted_before_its_weights_are_there(run):
    lines = doctor.needs(run, *doctor.pictures(run))
    # On one split three k, one of them once more without captions, and two controls; on the other one k.
    assert lines[0] == f"810 pictures (to be drawn); 7 trainings of {run['train']['epochs']} epochs."
    assert re.fullmatch(r"Disk: about \d+ MB, \d+ MB of it weights and checkpoints.", lines[1])
    assert re.match(
        r"Time, one job after the other: about \d+ min; most of it .*(train|evaluate|embed) \d+ min", lines[2]
    )
    assert not any(line.startswith("Not in these") for line in lines)
    assert not Path("weights").exists()
    run["encoders"]["far"] = {"family": "open_clip", "architecture": "hf-hub:imageomics/bioclip"}
    run["baselines"] = ["far"]
    said = "\n".join(doctor.needs(run, *doctor.pictures(run)))
    assert "Not in these: far, whose architecture comes with the weights" in said


def test_what_would_stop_a_run_is_said_before(run):
    assert list(doctor.faults(run, 810)) == []
    assert list(doctor.faults(run, 53)) == ["labels ask for 54 clusters, but there are only 53 pictures."]
    Path("data/demo").mkdir(parents=True)  # empty: what is to be drawn or downloaded is not there yet
    assert doctor.pictures(run) == (810, "to be drawn")
    run["dataset"] |= {"source": "folder", "root": "nowhere"}
    n, _ = doctor.pictures(run)
    assert list(doctor.faults(run, n)) == ["There are no pictures in nowhere: correct dataset.root, or put them there."]


def test_an_encoder_without_its_weights_is_as_large_and_as_long_as_with_them(tmp_path):
    definition = {"family": "open_clip", "architecture": "ViT-S-32-alt", "pretrained": "openai"}
    make_encoder_folder("small", {**definition, "pretrained": None, "seed": 5}, tmp_path / "small")
    # Turn by turn, the fastest of each: what else runs here hits both.
    turns = [
        [speed_of("small", definition, tmp_path / folder, "auto") for folder in ("none", "small")] for _ in range(3)
    ]
    befores, afters = zip(*turns, strict=True)
    before, after = (max(speeds, key=lambda speed: speed.pictures) for speeds in (befores, afters))
    assert before.dim == after.dim == load_encoder(tmp_path / "small").dim
    assert before.weights == pytest.approx(after.weights, rel=1e-3)  # but for the file's header
    assert before.pictures == pytest.approx(after.pictures, rel=0.8)


def test_sizes_and_times_are_read_at_a_glance():
    assert (size_in_words(2.5e6), size_in_words(1.6e9)) == ("2 MB", "1.6 GB")
    assert (needs.duration(90), needs.duration(9000)) == ("2 min", "2.5 h")


MACHINE = needs.MachineSpeed(operations=1e11, start=2.0, picture=0.01)


def test_seconds_of_rules_are_those_that_can_be_counted_by_hand(run):
    run["embed"]["threads"], run["train"]["epochs"] = 2, 4
    speeds = {name: needs.Speed(64, 100.0, 1000) for name in encoders_in_use(run)}
    n, found = 1000, needs.seconds_of_rules(run, 1000, 20, speeds, MACHINE)
    embeddings = len(encoders_in_use(run)) + 7
    assert found["prepare"] == 2 + n * 0.01
    assert found["embed"] == pytest.approx(embeddings * (2 + n / 100 + n * (0.01 / 2 + needs.OF_A_PICTURE)))
    reading = needs.OF_A_STEP * (run["train"]["store_px"] / needs.STEP_PX) ** 2 / run["train"]["threads"]
    of_a_picture = 3 / 100 + reading + needs.OF_A_PICTURE / 4
    assert found["train"] == pytest.approx(7 * (2 + 4 * 0.8 * n * of_a_picture))
    # Twice as many pictures: four times the pairs, twice everything else but the starts.
    twice = needs.seconds_of_rules(run, 2 * n, 20, speeds, MACHINE)
    assert twice["train"] - 14 == pytest.approx(2 * (found["train"] - 14))
    assert found["evaluate"] < twice["evaluate"] < 4 * found["evaluate"]
    nothing = needs.seconds_of_rules(run, 0, 2, speeds, MACHINE)
    assert {rule for rule, seconds in nothing.items() if seconds} <= set(found)
    assert all(seconds % 2 == 0 for seconds in nothing.values())
    assert needs.seconds_of_rules(run, n, 20, {}, MACHINE)["embed"] < found["embed"]


def test_the_time_to_read_a_picture_is_that_of_the_runs_own(run, specimens):
    run["dataset"] |= {"root": str(specimens)}
    assert 0 < needs.speed_of_machine(run).picture < 1
    # What cannot be decoded is for the run to say: a text, and a header that promises 900 million pixels.
    Path("some").mkdir()
    Path("some/text.jpg").write_text("no picture")
    sound = Path(next(specimens.rglob("*.jpg"))).read_bytes()
    Path("some/sound.jpg").write_bytes(sound)
    picture = io.BytesIO()
    Image.new("RGB", (9, 9)).save(picture, "BMP")
    size = (30_000).to_bytes(4, "little")
    Path("some/bomb.bmp").write_bytes(picture.getvalue()[:18] + 2 * size + picture.getvalue()[26:])
    run["dataset"] |= {"root": "some"}
    assert 0 < needs.speed_of_machine(run).picture < 1
    run["dataset"] |= {"root": "nowhere"}
    assert needs.speed_of_machine(run).picture == 0


def test_what_is_to_be_fetched_is_counted_by_the_hosts_limits(tmp_path):
    addresses = [f"https://a.example.org/{n}.jpg" for n in range(7200)]
    addresses += [f"https://b.example.org/{n}.jpg" for n in range(10)]
    pd.DataFrame({"address": addresses, "scientificName": "Lepomis gulosus"}).to_csv(tmp_path / "t.csv", index=False)
    dataset = {"root": str(tmp_path), "source": "addresses", "layout": "table", "table": {"file": "t.csv"}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"dataset": dataset | {"addresses": {"per_second": 2.0}}}))
    config = merged([REPOSITORY / "config/config.yaml", tmp_path / "c.yaml"])
    complete(config)
    path = tmp_path / picture_path(addresses[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    said = "\n".join(sentence for _, sentence in doctor.images(config))
    assert "1 of 7,210 pictures are fetched already" in said
    assert "2 host(s): 1.0 hours or more, some 3.6 GB" in said
    assert "contact is empty" in said
    assert doctor.pictures(config) == (7210, "listed in the metadata")
