"""What the README and the docs say must be there."""

import re
import shutil
import subprocess

import pytest
from conftest import REPOSITORY

TOP = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted((REPOSITORY / "docs").glob("*.md"))]
CI = (REPOSITORY / ".ci" / "run").read_text()
# A block, and the paragraph before it, which may say that it is not run.
BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n?```(?P<language>\w*)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
        if target.startswith("http"):
            continue
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{target}#{anchor}"


def commands_of_ci():
    """What .ci/run runs, in the words of the docs."""
    checkpoint = re.findall(r"CHECKPOINT=(\S+)", CI)[0]
    return (
        CI.replace("make real DATA=$REAL", "make real DATA=FOLDER NAME=mine")
        .replace("$CHECKPOINT", checkpoint)
        .replace("DATA=$REAL", "DATA=FOLDER")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_code_is_run_or_says_why_not(page):
    text, ci = page.read_text(), commands_of_ci()
    if runner := re.search(r"^Every block of commands on this page is run in (tests/\S+\.py),", text, re.MULTILINE):
        assert f"docs/{page.name}" in (REPOSITORY / runner[1]).read_text()
        return
    for block in BLOCK.finditer(text):
        language, marked = block["language"], re.search(r"not run in the tests|run in tests/", block["before"])
        assert language in ("sh", "python", "yaml", "r", "snakemake", ""), f"{page.name}: a block of {language}"
        if language == "sh" and not marked:
            for command in block["code"].splitlines():
                short = command.removeprefix(".venv/bin/").removesuffix(" --resources gpu=1")
                named = f"`{short}`" in text.partition("Every command above")[2]
                assert command in ci or named, command
        elif language == "python":
            assert "tests/demo/run_docs.py" in ci
        elif language in ("r", "snakemake"):
            assert marked, block["code"]


def test_pages_of_reference_are_what_the_code_says(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "docs")
    import reference

    assert (REPOSITORY / "config" / "config.yaml").read_text() == reference.config_file()
    assert (REPOSITORY / "docs" / "config.md").read_text() == reference.config_page()
    assert (REPOSITORY / "docs" / "columns.md").read_text() == reference.columns_page()


def test_files_that_the_code_map_names_are_there():
    text = (REPOSITORY / "docs" / "code-map.md").read_text()
    for name in re.findall(r"`([\w/.-]+(?:/|\.py|\.smk|\.yaml|\.md))`", text):
        places = (REPOSITORY / name, REPOSITORY / "src" / "cladeclip" / name)
        assert any(place.exists() for place in places), name


def test_the_configs_shown_in_the_docs_are_valid():
    import yaml
    from test_config import merged

    from cladeclip.config.check import complete

    blocks = [b for page in PAGES for b in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    assert len(blocks) >= 2
    for block in blocks:
        complete(merged(yaml.safe_load(block)))


def test_make_lists_its_targets():
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert len(targets) > 10
    assert len(targets) == len(set(targets))
    named = re.search(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert set(targets) == set(named)
    for target in targets:
        assert re.search(rf"^make {target} +\S", listed, re.MULTILINE), target


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_nothing_names_a_path_of_a_machine():
    files = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    forbidden = re.compile("/" + "work/|/" + "root/|/" + "home/")
    for name in files:
        path = REPOSITORY / name
        if path.suffix not in (".png", ".lock", ".safetensors") and path.is_file():
            assert not forbidden.search(path.read_text(encoding="utf-8")), name
