import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import quote

import pytest
from sources.hosts import host_of_pictures

from cladeclip.config.sections import Addresses
from cladeclip.datasets import web
from cladeclip.datasets.pictures import open_picture
from cladeclip.datasets.web import Guest, is_public, seconds_asked
from cladeclip.io.atomic import sha256_of_file

MANNERS = Addresses(
    contact="tests@example.org", per_second=1000, seconds=2, largest_mb=1, retries=2, private_hosts=True
)


@pytest.fixture
def host():
    with host_of_pictures() as running:
        yield running


def fetch(tmp_path, addresses, manners=MANNERS, at_once=8):
    """The answers, in the order of the addresses; pictures go to tmp_path/NUMBER.jpg."""
    (tmp_path / "staging").mkdir(exist_ok=True)

    async def all_of_them():
        async with Guest(manners, tmp_path / "staging", decoders) as guest:
            free = asyncio.Semaphore(at_once)

            async def one(number, address):
                async with free:
                    return await guest.fetch(address, tmp_path / f"{number}.jpg")

            return await asyncio.gather(*(one(*pair) for pair in enumerate(addresses)))

    with ThreadPoolExecutor(2) as decoders:
        answers = asyncio.run(all_of_them())
    assert list((tmp_path / "staging").iterdir()) == []
    return answers


@pytest.mark.parametrize("path", ["picture/a", "unsaid/a", "to/?place=/picture/b", "busy/1/503/-/c"])
def test_a_picture_comes_whole_with_its_hash(path, host, tmp_path):
    (answer,) = fetch(tmp_path, [host.address(path)])
    assert answer.reason == ""
    assert (answer.sha256, answer.size) == (sha256_of_file(tmp_path / "0.jpg"), (tmp_path / "0.jpg").stat().st_size)
    assert open_picture(tmp_path / "0.jpg").size == (64, 64)
    assert host.agents == {next(iter(host.agents))}
    assert "tests@example.org" in next(iter(host.agents))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("html/a", "sent text/html, not a picture"),
        ("html-as-jpeg/a", "cannot be decoded"),
        ("nothing/a", "sent nothing"),
        ("cut/a", "cannot be decoded"),
        ("bomb/a", "cannot be decoded"),
        ("status/404", "HTTP 404"),
        ("status/403", "HTTP 403"),
        ("status/500", "HTTP 500"),
        ("busy/9/429/0/a", "HTTP 429"),
        ("busy/9/503/100000/a", "asks to come back in 100000 seconds"),
        ("status/418", "HTTP 418"),
        ("loop/a", "more than 5 redirects"),
        ("slow/a", "took longer than"),
        ("trickle/a", "took longer than"),
        ("endless/a", "larger than 1 MB"),
        ("huge/a", "larger than 1 MB"),
        ("reset/a", "the connection broke"),
        ("short/a", "the connection broke"),
        ("to/?place=" + quote("file:///etc/passwd"), "no address of http"),
        ("to/?place=" + quote("ftp://example.org/a.jpg"), "no address of http"),
        ("to/?place=" + quote("//[::1"), "Invalid"),
    ],
)
def test_what_is_no_picture_is_said_and_leaves_nothing(path, reason, host, tmp_path):
    manners = replace(MANNERS, retries=0, seconds=0.5) if "longer" in reason else replace(MANNERS, retries=0)
    began = time.monotonic()
    (answer,) = fetch(tmp_path, [host.address(path)], manners)
    assert reason in answer.reason
    assert (answer.sha256, answer.size) == ("", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["staging"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "address", ["", "picture.jpg", "file:///etc/passwd", "http://", "http://[::1", "http://2130706433/a"]
)
def test_what_is_no_address_is_said(address, tmp_path):
    (answer,) = fetch(tmp_path, [address])
    assert answer.reason


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_this_machine_is_asked_only_if_the_config_says_so(name, host, tmp_path):
    port = host.base.rpartition(":")[2]
    (answer,) = fetch(tmp_path, [f"http://{name}:{port}/picture/a"], replace(MANNERS, private_hosts=False, retries=0))
    assert "private network" in answer.reason
    assert not host.asked


def test_a_public_host_that_leads_to_a_private_one_is_not_followed(host, tmp_path, monkeypatch):
    async def resolve(self, name, port=0, family=socket.AF_INET):
        # This machine stands in for a public host, and is reached by that host's name alone.
        if name == "pictures.example.org":
            return await self._all.resolve("127.0.0.1", port, family)
        return await really(self, name, port, family)

    really = web.PublicHosts.resolve
    monkeypatch.setattr(web.PublicHosts, "resolve", resolve)
    port = host.base.rpartition(":")[2]
    places = [f"http://{name}:{port}/picture/a" for name in ("127.0.0.1", "localhost", "pictures.example.org")]
    addresses = [f"http://pictures.example.org:{port}/to/?place={quote(place)}" for place in places]
    answers = fetch(tmp_path, addresses, replace(MANNERS, private_hosts=False, retries=0))
    assert ["private network" in answer.reason for answer in answers] == [True, True, False]
    assert host.asked == {"/to/": 3, "/picture/a": 1}


def test_a_proxy_of_a_private_network_may_be_used(host, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", host.base.replace("127.0.0.1", "localhost"))
    manners = replace(MANNERS, private_hosts=False, retries=0)
    (answer,) = fetch(tmp_path, ["http://pictures.example.org/picture/a"], manners)
    assert answer.reason == ""
    # And nothing else on the proxy's machine.
    monkeypatch.setenv("no_proxy", "localhost")
    with host_of_pictures() as other:
        (answer,) = fetch(tmp_path, [other.address("picture/a").replace("127.0.0.1", "localhost")], manners)
    assert "private network" in answer.reason


@pytest.mark.parametrize("connections", [1, 3])
def test_no_more_connections_than_allowed_and_all_of_them(connections, host, tmp_path):
    host.delay = 0.05
    answers = fetch(
        tmp_path, [host.address(f"picture/{n}") for n in range(30)], replace(MANNERS, connections=connections)
    )
    assert [answer.reason for answer in answers] == [""] * 30
    assert host.most_at_once == connections


def test_no_more_requests_a_second_than_allowed(host, tmp_path):
    fetch(tmp_path, [host.address(f"picture/{n}") for n in range(30)], replace(MANNERS, per_second=20))
    for start in host.times:
        # One more, since the two clocks of a request may differ.
        assert sum(start <= one < start + 1 for one in host.times) <= 21
    assert host.times[-1] - host.times[0] < 3


def test_a_host_that_asks_for_a_pause_is_left_alone_with_all_its_pictures(host, tmp_path):
    addresses = [host.address("busy/1/429/2/a"), *(host.address(f"picture/{n}") for n in range(10))]
    answers = fetch(tmp_path, addresses, replace(MANNERS, connections=1), at_once=1)
    assert [answer.reason for answer in answers] == [""] * 11
    gaps = [after - before for before, after in zip(host.times, host.times[1:], strict=False)]
    assert gaps[0] >= 2


def test_what_robots_txt_asks_is_done(host, tmp_path):
    host.robots = "User-agent: *\nDisallow: /picture/private\nAllow: /\nCrawl-delay: 0.3\n"
    addresses = [host.address(path) for path in ("picture/private-1", "picture/a", "picture/b", "picture/c")]
    answers = fetch(tmp_path, addresses)
    assert [bool(answer.reason) for answer in answers] == [True, False, False, False]
    assert "robots.txt" in answers[0].reason
    assert "/picture/private-1" not in host.asked
    assert min(after - before for before, after in zip(host.times, host.times[1:], strict=False)) > 0.25


@pytest.mark.parametrize(("robots", "allowed"), [(404, True), (403, True), (503, False), ("", True)])
def test_without_robots_txt_all_is_allowed_and_nothing_while_it_fails(robots, allowed, host, tmp_path):
    host.robots = robots
    (answer,) = fetch(tmp_path, [host.address("picture/a")], replace(MANNERS, retries=0))
    assert (answer.reason == "") == allowed
    assert bool(host.asked) == allowed


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(web, "FAILURES", 3)
    monkeypatch.setattr(web, "PATIENCE", 0)


def test_a_silent_host_is_given_up_and_others_are_not(host, tmp_path, impatient):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    addresses = [f"{silent}/{n}.jpg" for n in range(20)] + [host.address("picture/a")]
    answers = fetch(tmp_path, addresses, replace(MANNERS, retries=0))
    assert "failed 3 times one after another, at last: no connection" in answers[19].reason
    assert answers[20].reason == ""


def test_a_host_that_always_answers_later_is_given_up(host, tmp_path, impatient):
    answers = fetch(tmp_path, [host.address(f"status/503?{n}") for n in range(20)], at_once=1)
    assert "failed 3 times" in answers[19].reason
    assert sum(host.asked.values()) < 5


def test_a_network_that_is_gone_for_a_moment_gives_up_no_host(host, tmp_path):
    # Many failures, but within less time than PATIENCE.
    addresses = [host.address(f"reset/{n}") for n in range(30)] + [host.address("picture/a")]
    answers = fetch(tmp_path, addresses, replace(MANNERS, retries=0), at_once=1)
    assert answers[30].reason == ""


def test_a_host_that_asks_for_too_long_a_pause_is_given_up_at_once(host, tmp_path):
    addresses = [host.address("busy/9/429/601/a"), *(host.address(f"picture/{n}") for n in range(10))]
    began = time.monotonic()
    answers = fetch(tmp_path, addresses, at_once=1)
    assert all("asks to come back in 601 seconds" in answer.reason for answer in answers)
    assert sum(host.asked.values()) == 1
    assert time.monotonic() - began < 5


def test_so_is_one_whose_robots_txt_does(host, tmp_path):
    host.robots = "User-agent: *\nCrawl-delay: 86400\n"
    answers = fetch(tmp_path, [host.address(f"picture/{n}") for n in range(3)])
    assert all("asks for 86400 seconds" in answer.reason for answer in answers)
    assert not host.asked


def test_waiting_for_a_turn_is_no_time_that_a_host_took(host, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "AT_ONCE", 2)
    with host_of_pictures() as slow:
        addresses = [slow.address(f"slow/{n}") for n in range(4)] + [host.address("picture/a")]
        answers = fetch(tmp_path, addresses, replace(MANNERS, retries=0, seconds=0.5), at_once=5)
    assert [bool(answer.reason) for answer in answers] == [True] * 4 + [False]


def test_no_password_of_the_users_is_sent(host, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert fetch(tmp_path, [host.address("picture/a")])[0].reason == ""
    assert host.passwords == {""}


def test_what_comes_counts_whether_it_is_a_picture_or_not(host, tmp_path):
    async def ask(decoders):
        async with Guest(replace(MANNERS, retries=0), tmp_path, decoders, room=3_000_000) as guest:
            return [await guest.fetch(host.address(f"endless/{n}"), tmp_path / "a.jpg") for n in range(8)]

    with ThreadPoolExecutor(1) as decoders:
        reasons = [answer.reason for answer in asyncio.run(ask(decoders))]
    assert reasons[0] == "larger than 1 MB"
    assert reasons[-1] == "dataset.addresses.total_gb is reached"
    assert len(host.asked) < 5


def test_a_full_disk_is_no_fault_of_a_picture(host, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(web, "_append", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(tmp_path, [host.address("picture/a")])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("172.16.3.4", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),
        ("2002:808:808::", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
    ],
)
def test_addresses_of_private_networks_are_known(address, public):
    assert is_public(address) is public


def test_retry_after_is_a_number_or_a_date():
    assert seconds_asked("7") == 7
    assert seconds_asked("-7") == 0
    assert seconds_asked("") is None
    assert seconds_asked("soon") is None
    assert seconds_asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0
