import json
import shutil

import pytest
from conftest import REPOSITORY

from cladeclip import fingerprint


@pytest.fixture
def fingerprint_after(tmp_path, monkeypatch):
    """The fingerprint of a script after an edit of a copy of the package."""
    package = tmp_path / "cladeclip"
    shutil.copytree(REPOSITORY / "src" / "cladeclip", package)
    monkeypatch.setattr(fingerprint, "PACKAGE", package)

    def after(script, file=None, old="", new=""):
        fingerprint._digest_and_imports.cache_clear()
        if file:
            path = package / file
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new))
        return fingerprint.fingerprint_of(REPOSITORY / "workflow" / "scripts" / f"{script}.py")

    return after


def test_the_margin_is_part_of_training_and_of_nothing_else(fingerprint_after):
    before = {name: fingerprint_after(name) for name in ("train", "evaluate", "cluster", "embed")}
    edit = ("training/margin.py", "target_cosine - m3", "target_cosine - 2 * m3")
    assert fingerprint_after("train", *edit) != before["train"]
    for name in ("evaluate", "cluster", "embed"):
        assert fingerprint_after(name) == before[name]


def test_comments_docstrings_and_layout_do_not_count(fingerprint_after):
    before = fingerprint_after("train")
    assert fingerprint_after("train", "training/margin.py", '"""Margin logits:', '"""The margin logits:') == before
    assert fingerprint_after("train", "training/margin.py", "# arccos has", "# The arccos has") == before
    assert fingerprint_after("train", "training/margin.py", "    if m3 > 0:", "\n    if (m3 > 0):") == before


def test_a_module_imported_inside_a_function_counts(fingerprint_after):
    before = fingerprint_after("caption")
    edit = ("captioning/internvl.py", "do_sample=False", "do_sample=True")
    assert fingerprint_after("caption", *edit) != before


@pytest.mark.parametrize("memory", [None, "half a fi", '{"reader": "an older one", "files": {}}'])
def test_what_is_remembered_changes_no_fingerprint(tmp_path, monkeypatch, memory):
    monkeypatch.chdir(tmp_path)
    script = REPOSITORY / "workflow" / "scripts" / "train.py"

    def anew():
        fingerprint._digest_and_imports.cache_clear()
        fingerprint._remembered.cache_clear()
        return fingerprint.fingerprint_of(script)

    before = anew()
    fingerprint.remember()
    assert json.loads(fingerprint.MEMORY.read_text())["files"]
    if memory is not None:
        fingerprint.MEMORY.write_text(memory)
    assert anew() == before
    # From memory alone: no file is read as Python.
    fingerprint.remember()
    monkeypatch.setattr(fingerprint, "_read", None)
    assert anew() == before
