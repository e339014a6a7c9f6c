import importlib.metadata
import subprocess

import pandas as pd
import pytest

from cladeclip.io.atomic import write_json, write_text
from cladeclip.reporting.sections.made import costs, git_commit, versions, weights_of


def test_the_versions_are_those_installed():
    found = versions()
    assert found["torch"] == importlib.metadata.version("torch")
    assert "snakemake" in found


def test_the_commit_is_that_of_the_checkout_and_says_when_files_differ(tmp_path):
    assert git_commit(tmp_path) == ""

    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True
        ).stdout

    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    commit = git("rev-parse", "HEAD").strip()
    assert git_commit(tmp_path) == commit
    (tmp_path / "results").write_text("not tracked")
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == commit + "+"


def test_weights_are_those_of_the_encoders_that_were_made(tmp_path):
    about = {"definition": {}, "files": {"model.safetensors": {"sha256": "ab"}, "config.json": {"sha256": "cd"}}}
    write_json(tmp_path / "teacher" / "encoder.json", about)
    write_json(tmp_path / "histograms" / "encoder.json", {"definition": {}, "files": {}})
    rows = weights_of(["teacher", "histograms", "absent"], tmp_path)
    assert rows == [{"encoder": "teacher", "file": "model.safetensors", "sha256": "ab"}]


def test_costs_are_summed_by_rule(tmp_path):
    head = "s\th:m:s\tmax_rss\n"
    for path, line in {
        "train/all/a.tsv": "10.5\t0:00:10\t900.0",
        "train/all/b.tsv": "20.0\t0:00:20\t800.0",
        "split/all.tsv": "0.2\t0:00:00\t-",
        "compare.tsv": "1.0\t0:00:01\t50.0",
    }.items():
        write_text(tmp_path / path, head + line + "\n")
    found = costs(tmp_path).set_index("rule")
    assert list(found.index) == ["train", "compare", "split"]
    assert found.loc["train", ["jobs", "seconds", "longest", "megabytes"]].tolist() == [2, 30.5, 20.0, 900.0]
    assert pd.isna(found.loc["split", "megabytes"])
    assert costs(tmp_path / "absent").empty


@pytest.mark.parametrize("name", ["torch", "faiss-gpu"])
def test_a_package_that_is_not_there_is_left_out(monkeypatch, name):
    monkeypatch.setattr("cladeclip.reporting.sections.made.PACKAGES", ("no-such-package", name))
    assert list(versions()) == [name]
