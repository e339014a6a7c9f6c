"""What is installed: a wheel that holds all the package needs, and containers built from the lock."""

import re
import subprocess
import sys
import zipfile

import pytest
from conftest import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in files.splitlines():
        if name.startswith("src/") or name in ("pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def test_a_wheel_holds_every_file_of_the_package(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    source = REPOSITORY / "src"
    ours = {
        path.relative_to(source).as_posix()
        for path in (source / "cladeclip").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= held
    assert any(name.endswith("LICENSE") for name in held)


def test_an_installed_wheel_renders_a_report_without_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from cladeclip.reporting import report; print(report.__file__, len(report.environment().list_templates()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": "site"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    path, templates = done.stdout.split()
    assert path.startswith("site") or str(tmp_path) in path
    assert int(templates) >= 10


@pytest.mark.parametrize("name", ["Dockerfile", "cladeclip.def"])
def test_a_container_is_built_from_the_lock_and_copies_what_is_there(name):
    """The builds themselves need an image from a registry: they are not run here."""
    text = (REPOSITORY / "envs" / name).read_text()
    assert re.search(r"pip install .*--require-hashes -r /opt/requirements\.lock", text)
    for copied in re.findall(r"^(?:COPY|   ) ?(\S+) /opt/", text, re.MULTILINE):
        assert (REPOSITORY / copied).exists(), copied
    base = re.search(r"(?:FROM|From:) python:3\.(\d+)", text)
    assert int(base[1]) >= 11
    for command in re.findall(r"snakemake (.*)$", text, re.MULTILINE):
        for config in re.findall(r"--configfile (\S+)", command):
            assert (REPOSITORY / config).is_file()


def test_the_conda_environment_has_the_versions_of_the_lock(monkeypatch):
    """Building it needs a conda channel: it is not done here."""
    import yaml

    monkeypatch.syspath_prepend(REPOSITORY / "envs")
    import write_conda

    text = (REPOSITORY / "envs" / "cladeclip.yaml").read_text()
    assert text == write_conda.environment()
    pins = yaml.safe_load(text)["dependencies"][-1]["pip"]
    locked = re.findall(r"^(\S+==\S+)", (REPOSITORY / "envs" / "requirements.lock").read_text(), re.MULTILINE)
    assert [pin.split(" ;")[0] for pin in pins] == locked
