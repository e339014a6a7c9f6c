"""Downloads from the stand-in of the hub, over networks of all kinds; the real client, in a process of its own."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest
from conftest import flip, until
from hub.client import call, start
from hub.stand_in import Hub, HubRepository

BRING = """
import json, sys
from cladeclip import hub
name, folder, patience = sys.argv[1], sys.argv[2], float(sys.argv[3])
try:
    repository = hub.look_up(name, sys.argv[4], patience=patience)
    hub.bring(repository, repository.files, folder, patience=patience)
    print(json.dumps({"commit": repository.commit, "licence": repository.licence, "files": sorted(repository.files)}))
except hub.HubError as error:
    print(json.dumps({"error": str(error)}))
"""
SNAPSHOT = """
import json, sys
from cladeclip import hub
try:
    found = hub.snapshot(sys.argv[1], lambda names: names, sys.argv[2], revision="main")
    print(json.dumps({"commit": found.commit, "files": sorted(found.files)}))
except hub.HubError as error:
    print(json.dumps({"error": str(error)}))
"""


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "empty.txt").write_text("")
    (folder / "deep" / "er" / "note [1] ü.txt").write_text("a name as people give it")
    (folder / "model.safetensors").write_bytes(os.urandom(5_000_000))
    return HubRepository("owner/name", folder, licence="cc0-1.0")


@pytest.fixture
def hub(repository):
    with Hub(repository, HubRepository("owner/gated", repository.folder, gated=True)) as hub:
        yield hub


class Client:
    """The client on a machine of its own: a cache, a folder, and the environment of a user."""

    def __init__(self, folder):
        self.folder, self.home = folder / "got", folder / "home"

    def start(self, hub, code=BRING, name="owner/name", patience=30, revision="main", offline="0"):
        process = start(hub, self.home, code, name, self.folder, patience, revision, offline=offline)
        process.said = "(see its pipes)"
        return process

    def run(self, hub, code=BRING, name="owner/name", patience=30, revision="main", offline="0"):
        return call(hub, self.home, code, name, self.folder, patience, revision, offline=offline, at_most=120)[0]

    def files(self):
        """What has the name of a file of the repository, with its bytes."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".part"]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path)


def bytes_of(repository):
    return {name: file.path.read_bytes() for name, file in repository.files.items()}


def test_every_file_arrives_with_its_bytes_and_is_not_asked_for_again(client, hub, repository):
    found = client.run(hub)
    assert found == {"commit": repository.commit, "licence": "cc0-1.0", "files": sorted(repository.files)}
    assert client.files() == bytes_of(repository)
    hub.requests.clear()
    client.run(hub)
    assert not hub.served("/resolve/")


@pytest.mark.parametrize("kind", ["cut", "short"])
def test_what_breaks_off_goes_on_where_it_was(client, hub, repository, kind):
    hub.fault("model.safetensors", kind, times=3)
    client.run(hub)
    assert client.files() == bytes_of(repository)
    asked = [int(line.rsplit("=")[1].rstrip("-")) for line in hub.served(r"/cdn/.*model\.safetensors bytes")]
    assert asked[0] == 0
    assert len(asked) == 4
    assert asked == sorted(set(asked))


def test_a_server_that_sends_only_whole_files_is_understood(client, hub, repository):
    hub.fault("model.safetensors", "cut")
    hub.fault("model.safetensors", "whole")
    client.run(hub)
    assert client.files() == bytes_of(repository)


def test_a_killed_download_goes_on_in_the_middle_of_a_file(client, hub, repository):
    hub.fault("model.safetensors", "hang")
    process = client.start(hub)
    part = client.folder / "model.safetensors.part"
    until(lambda: part.is_file() and part.stat().st_size > 1_000_000, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "model.safetensors" not in client.files()
    had = part.stat().st_size
    hub.requests.clear()
    client.run(hub)
    assert client.files() == bytes_of(repository)
    assert hub.served(rf"/cdn/.*model\.safetensors bytes={had}-")


@pytest.mark.parametrize("where", ["/api/models/owner/name/revision", "/tree/", "/resolve/", "/cdn/"])
@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry_After": "1"}), (503, {}), (500, {})])
def test_refusals_for_a_while_are_waited_out(client, hub, repository, where, status, headers):
    hub.fault(where, status, **headers)
    client.run(hub)
    assert client.files() == bytes_of(repository)


def test_a_rate_limit_is_waited_for_as_long_as_the_hub_says(client, hub, repository):
    hub.fault("/cdn/", 429, RateLimit='"resolvers";r=0;t=3')
    before = time.monotonic()
    client.run(hub)
    assert time.monotonic() - before > 3
    assert client.files() == bytes_of(repository)


def test_bytes_that_changed_on_the_way_are_fetched_again(client, hub, repository):
    hub.fault("model.safetensors", "other")
    client.run(hub)
    assert client.files() == bytes_of(repository)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (("/cdn/", "other"), "what arrived twice as model.safetensors of owner/name is not what the hub announces"),
        (("/cdn/", 503), "503"),
        (("/cdn/", "short"), None),
        (("model.safetensors", 404), "404"),
        (("/api/models", 500), "500"),
    ],
)
def test_what_does_not_get_better_is_one_sentence_and_leaves_nothing_that_passes_for_whole(
    client, hub, repository, fault, sentence
):
    hub.fault(*fault, times=float("inf"))
    if sentence is None:  # half of what is left each time: slow, but it gets there
        client.run(hub)
        assert client.files() == bytes_of(repository)
        return
    error = client.run(hub, patience=2)["error"]
    assert sentence in error
    assert "\n" not in error
    assert "model.safetensors" not in client.files()
    assert client.files().items() <= bytes_of(repository).items()
    hub.faults.clear()
    client.run(hub)
    assert client.files() == bytes_of(repository)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "owner/other"}, "the hub has no repository owner/other, or it is not public"),
        ({"name": "owner/gated"}, "owner/gated asks for your consent: give it at"),
        ({"revision": "v2"}, "owner/name has no revision v2"),
    ],
)
def test_what_the_hub_refuses_is_said_in_its_own_words(client, hub, arguments, sentence):
    assert sentence in client.run(hub, **arguments)["error"]


def test_without_a_network_it_ends_at_once(client, hub):
    hub.__exit__()
    before = time.monotonic()
    assert "the hub cannot be reached" in client.run(hub)["error"]
    assert time.monotonic() - before < 20


def test_a_file_outside_of_its_folder_is_refused(client, hub, repository):
    repository.files["../outside.txt"] = repository.files["config.json"]
    assert "would lie outside" in client.run(hub)["error"]
    assert not (client.folder.parent / "outside.txt").exists()


def fill_cache(client, hub):
    """What other programs of the user have downloaded before."""
    code = "import huggingface_hub, sys; huggingface_hub.snapshot_download(sys.argv[1])"
    process = client.start(hub, code)
    assert process.wait() == 0, process.stderr.read()


def test_the_hubs_cache_is_used_online_and_offline(client, hub, repository):
    asked = "import sys; from cladeclip import hub; print(int(hub.is_cached(sys.argv[1], list, revision='main')))"
    assert client.run(hub, asked) == 0
    fill_cache(client, hub)
    assert client.run(hub, asked) == 1
    hub.requests.clear()
    client.run(hub, SNAPSHOT)
    assert client.files() == bytes_of(repository)
    assert not hub.served("/resolve/")
    shutil.rmtree(client.folder)
    hub.requests.clear()
    assert client.run(hub, SNAPSHOT, offline="1")["commit"] == repository.commit
    assert client.files() == bytes_of(repository)
    assert not hub.requests
    shutil.rmtree(client.folder)
    hub.__exit__()
    client.run(hub, SNAPSHOT)
    assert client.files() == bytes_of(repository)


def test_a_user_who_says_offline_is_obeyed_and_told_what_is_missing(client, hub):
    error = client.run(hub, SNAPSHOT, offline="1")["error"]
    assert error == "HF_HUB_OFFLINE is set, and the hub's cache has no owner/name at revision main"
    assert not hub.requests


def test_a_damaged_file_of_the_cache_is_not_taken(client, hub, repository):
    fill_cache(client, hub)
    blob = (client.home / "hub").glob("*/blobs/" + repository.files["model.safetensors"].sha256)
    flip(next(iter(blob)))
    assert "is damaged" in client.run(hub, SNAPSHOT, offline="1")["error"]
    client.run(hub, SNAPSHOT)
    assert client.files() == bytes_of(repository)


@pytest.fixture
def small_disk(tmp_path):
    """Eight million bytes."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_too_little_room_is_said_before_anything_is_fetched(client, hub, small_disk):
    client.folder = small_disk / "got"
    (small_disk / "other").write_bytes(bytes(5_000_000))
    assert "owner/name needs 5 MB in" in client.run(hub)["error"]
    assert not hub.served("/resolve/")


def fill(path):
    """A file of all the room that there is."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(100_000)):
            pass


def test_a_disk_that_becomes_full_costs_what_does_not_fit(client, hub, repository, small_disk):
    client.folder = small_disk / "got"
    hub.fault("model.safetensors", "hang")
    process = client.start(hub)
    part = client.folder / "model.safetensors.part"
    until(lambda: part.is_file() and part.stat().st_size > 1_000_000, process)
    fill(small_disk / "other")
    hub.go_on.set()
    _, log = process.communicate(timeout=60)
    assert "No space left on device" in log
    assert "model.safetensors" not in client.files()
    (small_disk / "other").unlink()
    hub.requests.clear()
    client.run(hub)
    assert client.files() == bytes_of(repository)
    assert not hub.served(r"/cdn/.*safetensors bytes=0-")
