import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
from sources.hosts import host_of_pictures, jpeg

from cladeclip.config.sections import Addresses
from cladeclip.datasets.addresses import cleaned, is_address, is_of_web, picture_path
from cladeclip.datasets.fetch_pictures import JOURNAL, fetch_pictures
from cladeclip.datasets.licences import licence_of
from cladeclip.datasets.pictures import open_picture
from cladeclip.errors import ConfigError, DataError
from cladeclip.io.atomic import sha256_of_file

MANNERS = Addresses(
    contact="tests@example.org", per_second=2000, seconds=5, retries=0, private_hosts=True, max_missing=1.0
)


@pytest.fixture
def host():
    with host_of_pictures() as running:
        yield running


def listed(addresses, licences=None):
    table = pd.DataFrame({"image_id": list(map(picture_path, addresses)), "address": addresses})
    return table if licences is None else table.assign(licence=list(map(licence_of, licences)))


def fetch(root, addresses, manners=MANNERS, licences=(), **columns):
    table = fetch_pictures(root, listed(addresses, **columns), manners, licences=licences)
    return table.set_index("address").reindex(addresses)


def pictures(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()} | {
        JOURNAL: b""
    }


def test_what_came_is_told_with_its_hash_and_what_failed_with_its_reason(host, tmp_path):
    addresses = [host.address(path) for path in ("picture/a", "html/b", "picture/c.jpg", "status/404")]
    table = fetch(tmp_path, addresses)
    assert list(table["reason"] == "") == [True, False, True, False]
    for row in table[table["reason"] == ""].itertuples():
        path = tmp_path / row.image_id
        assert (row.sha256, row.size) == (sha256_of_file(path), path.stat().st_size)
        assert open_picture(path).size == (64, 64)
    assert set(pictures(tmp_path)) == {JOURNAL, *table.loc[table["reason"] == "", "image_id"]}


def test_what_lies_there_is_not_asked_for_again(host, tmp_path):
    addresses = [host.address(f"picture/{n}") for n in range(5)]
    first = fetch(tmp_path, addresses)
    (tmp_path / first["image_id"].iloc[0]).unlink()
    (tmp_path / first["image_id"].iloc[1]).write_bytes(b"cut off")
    host.asked.clear()
    again = fetch(tmp_path, [*addresses, host.address("picture/5")])
    assert again.iloc[:5].equals(first)
    assert set(host.asked) == {"/picture/0", "/picture/1", "/picture/5"}
    (tmp_path / JOURNAL).unlink()
    host.asked.clear()
    assert fetch(tmp_path, addresses).equals(first)
    assert not host.asked


def test_what_failed_is_asked_for_again(host, tmp_path):
    addresses = [host.address("busy/1/503/0/a"), host.address("picture/b")]
    assert list(fetch(tmp_path, addresses)["reason"] == "") == [False, True]
    assert list(fetch(tmp_path, addresses)["reason"] == "") == [True, True]


def test_other_bytes_than_last_time_are_told(host, tmp_path, caplog):
    address = host.address("again/a")
    host.bytes_of["a"] = jpeg(1)
    before = fetch(tmp_path, [address])
    (tmp_path / picture_path(address)).unlink()
    host.bytes_of["a"] = jpeg(2)
    after = fetch(tmp_path, [address])
    assert (before["other_bytes"].item(), after["other_bytes"].item()) == (False, True)
    assert "other bytes" in caplog.text
    assert after["sha256"].item() == sha256_of_file(tmp_path / picture_path(address))
    assert fetch(tmp_path, [address])["other_bytes"].item()


def test_only_wanted_licences_are_asked_for(host, tmp_path):
    addresses = [host.address(f"picture/{n}") for n in range(3)]
    said = ["CC0 1.0", "CC BY-NC 4.0", ""]
    table = fetch_pictures(tmp_path, listed(addresses, said), MANNERS, licences=["cc0"])
    assert list(table["address"]) == addresses[:1]
    assert set(host.asked) == {"/picture/0"}
    with pytest.raises(DataError, match=r"dataset\.licences"):
        fetch_pictures(tmp_path, listed(addresses, said), MANNERS, licences=["cc-by"])


def test_no_more_is_fetched_than_allowed_in_all(host, tmp_path):
    addresses = [host.address(f"picture/{n}") for n in range(30)]
    size = len(host.pictures[0])
    table = fetch(tmp_path, addresses, replace(MANNERS, connections=1, total_gb=10.5 * size / 1e9))
    came = table["reason"] == ""
    assert 9 <= came.sum() <= 12
    assert set(table.loc[~came, "reason"]) == {"dataset.addresses.total_gb is reached"}
    again = fetch(tmp_path, addresses, replace(MANNERS, connections=1, total_gb=10.5 * size / 1e9))
    assert (again["reason"] == "").sum() <= came.sum() + 1


def test_a_slow_host_does_not_hold_up_another(host, tmp_path):
    with host_of_pictures() as slow:
        slow.delay = 0.5
        addresses = [slow.address(f"picture/{n}") for n in range(8)] + [host.address(f"picture/{n}") for n in range(50)]
        fetch(tmp_path, addresses, replace(MANNERS, connections=2))
        assert max(host.times) - min(host.times) < (max(slow.times) - min(slow.times)) / 2


def test_nobody_is_asked_by_nobody(host, tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.addresses\.contact is empty"):
        fetch(tmp_path, [host.address("picture/a")], replace(MANNERS, contact=" "))
    assert not host.asked


def test_where_not_one_picture_comes_the_command_ends(host, tmp_path):
    with pytest.raises(DataError, match=r"2 of 2 pictures could not be fetched \(HTTP 404: 2\)"):
        fetch(tmp_path, [host.address("status/404"), host.address("status/404?a")])


def test_where_too_many_do_not_come_the_command_ends_and_goes_on_later(host, tmp_path, caplog):
    caplog.set_level("INFO")
    addresses = [host.address(f"busy/1/500/0/{n}") for n in range(3)] + [host.address("picture/a")]
    with pytest.raises(DataError, match=r"3 of 4 pictures.*HTTP 500.*max_missing allows a share of 0.5"):
        fetch_pictures(tmp_path, listed(addresses), replace(MANNERS, max_missing=0.5), licences=[])
    assert f"{addresses[0]}: HTTP 500" in caplog.text
    assert list(fetch(tmp_path, addresses)["reason"]) == [""] * 4


PROGRAM = """
import sys, json
import pandas as pd
from cladeclip.config.sections import Addresses
from cladeclip.datasets.fetch_pictures import fetch_pictures
root, listed, manners = sys.argv[1], pd.read_json(sys.argv[2]), json.loads(sys.argv[3])
fetch_pictures(root, listed, Addresses(**manners), licences=[])
"""


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_at_any_moment_the_same_command_goes_on(signal_, host, tmp_path):
    host.delay = 0.01
    addresses = [host.address(f"picture/{n}.jpg") for n in range(120)]
    listed(addresses).to_json(tmp_path / "listed.json")
    root = tmp_path / "data"
    command = [sys.executable, "-c", PROGRAM, root, tmp_path / "listed.json", json.dumps(asdict(MANNERS))]
    asked = 0
    for answers in (1, 5, 10, 20):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        began = sum(host.asked.values())
        while sum(host.asked.values()) < began + answers and running.poll() is None:
            time.sleep(0.005)
        os.kill(running.pid, signal_)
        running.wait(30)
        # What lies there is whole.
        for path in root.glob("pictures/*/*"):
            assert open_picture(path).size == (64, 64)
        asked = sum(host.asked.values())
    there = len(list(root.glob("pictures/*/*")))
    assert 0 < there < len(addresses)
    table = fetch(root, addresses)
    assert list(table["reason"]) == [""] * len(addresses)
    # Nothing that lay there was asked for again, and nothing is left of the killed.
    assert sum(host.asked.values()) - asked == len(addresses) - there
    assert {path.name for path in root.iterdir()} == {JOURNAL, "pictures"}
    for row in table.itertuples():
        assert row.sha256 == sha256_of_file(Path(root, row.image_id))


def test_addresses_and_paths_are_told_apart():
    of_web = ("http://x.org/a", "HTTPS://x.org", "https://x.org/a.jpg?b=c", "http://x.org/a b")
    others = ("file:///a", "ftp://x.org/a", "urn:uuid:1")
    paths = ("", "a.jpg", "/a/b.jpg", r"C:\pictures\a.jpg", "a b/c.jpg")
    assert all(map(is_of_web, of_web))
    assert all(map(is_address, (*of_web, *others)))
    assert not any(map(is_of_web, (*others, *paths)))
    assert not any(map(is_address, paths))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" https://x.org/a.jpg ", "https://x.org/a.jpg"),
        ("https://x.org/My Image.jpg", "https://x.org/My%20Image.jpg"),
        ("https://x.org/?id=1&amp;size=l", "https://x.org/?id=1&size=l"),
        ("//x.org/a.jpg", "https://x.org/a.jpg"),
        ("www.x.org/a.jpg", "http://www.x.org/a.jpg"),
        ("my pictures/a.jpg", "my pictures/a.jpg"),
    ],
)
def test_addresses_are_cleaned_of_what_they_caught(written, meant):
    assert cleaned(written) == meant


def test_the_place_of_a_picture_follows_from_its_address():
    one, other = picture_path("https://x.org/a.JPG?size=1"), picture_path("https://x.org/a.JPG?size=2")
    assert one != other
    assert one.endswith(".jpg")
    assert "." not in picture_path("https://x.org/media.php?id=7")
    assert "." not in picture_path("https://[x")
