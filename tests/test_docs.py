"""What the README and the docs say must be there."""

import re
import shutil
import subprocess

import pytest
from conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_command_of_the_readme_is_run_by_ci_or_named_as_not():
    readme, ci = (REPOSITORY / "README.md").read_text(), (REPOSITORY / ".ci" / "run").read_text()
    ci = ci.replace("DATA=$REAL", "DATA=FOLDER NAME=mine").replace(
        "$CHECKPOINT", re.findall(r"CHECKPOINT=(\S+)", ci)[0]
    )
    not_run = readme[readme.index("Every command above") :]
    commands = [line for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) for line in block.splitlines()]
    assert len(commands) >= 6
    for command in commands:
        short = command.removeprefix(".venv/bin/").removesuffix(" --resources gpu=1")
        assert command in ci or f"`{short}`" in not_run, command


def test_the_configs_shown_in_the_docs_are_valid():
    import yaml
    from test_config import SCHEMA, merged

    from cladeclip.config import validate

    blocks = [b for page in PAGES for b in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    assert len(blocks) >= 2
    for block in blocks:
        validate(merged(yaml.safe_load(block)), SCHEMA)


def test_make_lists_its_targets():
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "real", "test", "lint", "bench", "study", "clean"):
        assert re.search(rf"^make {target} +\S", listed, re.MULTILINE), target


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_nothing_names_a_path_of_a_machine():
    files = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    forbidden = re.compile("/" + "work/|/" + "root/|/" + "home/")
    for name in files:
        path = REPOSITORY / name
        if path.suffix not in (".png", ".lock") and path.is_file():
            assert not forbidden.search(path.read_text(encoding="utf-8")), name
