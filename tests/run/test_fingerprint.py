import json
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY

from cladeclip.captioning.specs import KINDS
from cladeclip.datasets.layouts.specs import LAYOUTS
from cladeclip.encoders.specs import FAMILIES
from cladeclip.run import fingerprint, staleness
from cladeclip.training.specs import READERS, loss_place

ALL = frozenset(FAMILIES)
SCRIPTS = sorted((REPOSITORY / "workflow" / "scripts").glob("*.py"))


def forget():
    """As another command that finds other files."""
    for kept in (
        fingerprint.definitions_of,
        fingerprint.source_of,
        staleness.code_of_script,
        staleness.code_of_rows,
        staleness.code_of_captions,
    ):
        kept.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, to be edited."""
    folder = tmp_path / "cladeclip"
    shutil.copytree(REPOSITORY / "src" / "cladeclip", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "PACKAGE", folder)
    forget()
    yield folder
    monkeypatch.undo()
    forget()


def codes():
    """What makes results and cached rows stale: the fingerprints of all scripts, and of what makes rows."""
    forget()
    of_training = [loss_place("arcface"), *(reader.place for reader in READERS.values())]
    chosen = dict.fromkeys(("train", "lr_range"), of_training)
    chosen["prepare"] = [layout.door("read") for layout in LAYOUTS.values()]
    for stem, function in (("caption", "captions"), ("fetch_captioner", "fetch")):
        chosen[stem] = [kind.door(function) for kind in KINDS.values() if kind.model]
    scripts = {
        script.stem: staleness.code_of_script(script, ALL, tuple(chosen.get(script.stem, ()))) for script in SCRIPTS
    }
    rows = {f"rows of {rows}": staleness.code_of_rows(rows, ALL) for rows in staleness.CODE_OF_ROWS}
    return scripts | rows | {"rows of captions": staleness.code_of_captions("internvl")}


def stale_after(package, file, old, new):
    """What becomes stale by an edit."""
    before, path = codes(), package / file
    text = path.read_text()
    assert text.count(old) == 1, (file, old)
    path.write_text(text.replace(old, new))
    after = codes()
    path.write_text(text)
    return {name for name in after if after[name] != before[name]}


# The edit, and what computes with it.
EDITS = {
    "the margin": (
        "training/losses.py",
        "EXACT_CLAMP)) + self.m2",
        "EXACT_CLAMP)) + 2 * self.m2",
        {"train", "lr_range"},
    ),
    "a loss that is not the config's": ("training/losses.py", "cosines - self.m3", "cosines - 2 * self.m3", set()),
    "a column of the evaluation": (
        "tables.py",
        '        "n_query_without_gallery": INT,\n',
        '        "n_query_without_gallery": INT,\n        "n_new": INT,\n',
        {"evaluate", "compare", "embeddings_map", "saliency", "report", "release_one"},
    ),
    "the downloader": ("hub.py", "PIECE = ", "PIECE = 2 * ", set()),
    "the report": ("reporting/findings.py", "def _corrected(", "def _corrected(_=None, *, ", {"report"}),
    "the words of an error": ("datasets/prepare.py", "the metadata lists no picture", "no picture is listed", set()),
    "an error's class": (
        "errors.py",
        "class DataError(CladeclipError):",
        "class DataError(CladeclipError, OSError):",
        set(),
    ),
    "a line to the log": (
        "io/row_cache.py",
        'logger.info("%s %s, reused %s"',
        'logger.info("%s %s, and reused %s"',
        set(),
    ),
    "the progress bar": ("run/progress.py", "SECONDS_BETWEEN_LINES = 10", "SECONDS_BETWEEN_LINES = 20", set()),
    "a docstring": ("training/losses.py", '"""Additive angular', '"""An additive angular', set()),
    "a comment": ("training/losses.py", "# arccos has", "# The arccos has", set()),
    "layout": ("training/losses.py", "    if filter_above > 0:", "\n    if (filter_above > 0):", set()),
    "an annotation": (
        "encoders/embed.py",
        "def _padded(batch: Tensor, size: int)",
        "def _padded(batch: Tensor, size)",
        set(),
    ),
    "what is imported inside a function": (
        "captioning/kinds/internvl.py",
        "do_sample=False",
        "do_sample=True",
        {"caption", "rows of captions"},
    ),
    "how a layout is read": (
        "datasets/layouts/table.py",
        "def from_frame(",
        "def from_frame(_=None, *, ",
        {"prepare"},
    ),
    "another function of a library under the same name": (
        "training/optimisation.py",
        "from torch.optim.adamw import adamw",
        "from torch.optim.adam import adam as adamw",
        {"train", "lr_range"},
    ),
    "what is recorded of a download": (
        "hub.py",
        "def record(self)",
        "def record(self, *_)",
        {"fetch_weights", "fetch_captioner", "fetch_vlm4bio"},
    ),
    "a comment in a file that is copied": (
        "encoders/unicom_vit.py",
        "BATCHNORM_EPS = ",
        "# A comment.\nBATCHNORM_EPS = ",
        {"fetch_weights"},
    ),
    "how embeddings are stored": (
        "io/embeddings.py",
        "def embedding_column(",
        "def embedding_column(_=None, *, ",
        {"cluster", "embed", "embed_text", "fuse", "join_shards", "rows of images", "rows of texts"},
    ),
    "how a table of embeddings is written": (
        "io/embeddings.py",
        "class EmbeddingsWriter:",
        "class EmbeddingsWriter:\n    level = 1",
        {"cluster", "embed", "embed_text", "fuse", "join_shards"},
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_makes_stale_what_computes_with_it(package, edit):
    *change, expected = EDITS[edit]
    assert stale_after(package, *change) == expected


def test_statements_that_define_nothing_belong_to_whatever_reaches_their_module(package):
    stale = stale_after(
        package, "encoders/families/handcrafted.py", "import numpy as np\n", "import numpy as np\nnp.seterr()\n"
    )
    assert {"embed", "rows of images"} <= stale
    assert "evaluate" not in stale


def test_a_family_of_encoders_makes_only_its_own_results_stale(package):
    def code_by_family():
        forget()
        embed = REPOSITORY / "workflow" / "scripts" / "embed.py"
        return {
            family: (staleness.code_of_script(embed, one), staleness.code_of_rows("images", one))
            for family in FAMILIES
            for one in [frozenset([family])]
        }

    before = code_by_family()
    for family, file, old in (
        ("unicom", "encoders/unicom_vit.py", "class UnicomViT(nn.Module):"),
        ("transformers", "encoders/families/transformers.py", "class ProjectedMean(nn.Module):"),
        ("handcrafted", "encoders/families/handcrafted.py", "def _colour("),
    ):
        path = package / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, "@staticmethod\n" + old))
        after = code_by_family()
        path.write_text(text)
        assert {name for name in after if after[name] != before[name]} == {family}


def test_one_family_more_makes_nothing_stale(package):
    line = 'FAMILIES = {"new": None} | {'
    assert stale_after(package, "encoders/specs.py", "FAMILIES = {", line) == set()
    for family in FAMILIES:
        assert staleness.code_of_rows("images", frozenset([family])) != staleness.code_of_rows("images")


def test_nothing_imports_the_package_in_a_way_that_hides_what_is_used():
    """`import cladeclip.tables` would bind `cladeclip` alone, and a star whatever there is."""
    for path in [*(REPOSITORY / "src").rglob("*.py"), *SCRIPTS]:
        for line in path.read_text().splitlines():
            words = line.split()
            assert words[:1] != ["import"] or not words[1].startswith("cladeclip."), (path, line)
            assert words[:1] != ["from"] or words[-2:] != ["import", "*"], (path, line)


def test_a_definition_that_is_not_there_is_named():
    with pytest.raises(LookupError, match=r"cladeclip\.tables:NOTHING"):
        fingerprint.fingerprint_of("cladeclip.tables:NOTHING")


@pytest.mark.parametrize("memory", [None, "half a fi", '{"reader": "an older one", "files": {}}'])
def test_what_is_remembered_changes_no_fingerprint(tmp_path, monkeypatch, memory):
    monkeypatch.chdir(tmp_path)

    def anew():
        forget()
        fingerprint._in_use.clear()
        fingerprint._remembered.cache_clear()
        return fingerprint.fingerprint_of(Path(REPOSITORY, "workflow", "scripts", "train.py"))

    before = anew()
    forget()
    fingerprint._in_use.clear()
    fingerprint.remember(REPOSITORY / "workflow" / "scripts" / "train.py")
    assert json.loads(fingerprint.MEMORY.read_text())["files"]
    if memory is not None:
        fingerprint.MEMORY.write_text(memory)
    assert anew() == before
    # From memory alone: no file is read as Python.
    fingerprint.remember()
    monkeypatch.setattr(fingerprint, "_read", None)
    assert anew() == before
