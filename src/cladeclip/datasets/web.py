"""Fetches pictures from the web as a guest: within limits for every host, and as its robots.txt asks.

What a host answers is not trusted: redirects are followed only to public addresses of http and https, an answer may be
neither too large nor too slow, and a file counts only if it can be decoded as a picture.
"""

import asyncio
import email.utils
import hashlib
import ipaddress
import itertools
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiolimiter import AsyncLimiter
from protego import Protego
from yarl import URL

from cladeclip.config.sections import Addresses
from cladeclip.datasets.pictures import UNUSABLE, open_picture
from cladeclip.errors import first_line

MB = 1_000_000
CHUNK = 64 * 1024
MOST_REDIRECTS = 5
# The robots.txt of a host is read as far as this (RFC 9309 asks for 500 KiB at least).
LARGEST_ROBOTS = 512 * 1024
AGENT = "CladeCLIP"
# Requests to all hosts at once, and the seconds that a connection may take.
AT_ONCE, TO_CONNECT = 64, 15
# A host that failed so often, one time after another and for so many seconds, is given up: its other pictures are not asked
# for. The time is there for a network that is gone for a moment, which all hosts seem to be.
FAILURES, PATIENCE = 10, 120
# The longest that a host may ask to be left alone for, in seconds: beyond that it is given up at once.
LONGEST_PAUSE = 600
# What a host can be expected to answer again later.
COME_BACK = frozenset((408, 425, 429, 500, 502, 503, 504))
REDIRECTS = frozenset((301, 302, 303, 307, 308))
NO_ROOM = "dataset.addresses.total_gb is reached"
# Servers that do not know what they send.
UNSAID = frozenset(("", "application/octet-stream", "binary/octet-stream", "application/x-download"))


@dataclass(frozen=True)
class Answer:
    """What became of one address: the file's SHA-256 and bytes, or the reason why there is none, in words."""

    sha256: str = ""
    size: int = 0
    reason: str = ""


class Refused(Exception):
    """This picture is not fetched, and asking again would change nothing."""


class AskAgain(Exception):
    """This attempt failed; another may not.

    Attributes:
        after: the seconds that the host asked to wait; None where it did not say.
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass
class _Host:
    """What is known of a host, and its turns."""

    free: asyncio.Semaphore
    rate: AsyncLimiter
    reading_robots: asyncio.Lock = field(default_factory=asyncio.Lock)
    robots: Protego | None = None
    read_robots: bool = False
    paused_until: float = 0.0
    failures: int = 0
    first_failure: float = 0.0
    gave_up: str = ""

    def failed(self, name: str, reason: str) -> None:
        """Notes that it gave no answer to go on from."""
        now = time.monotonic()
        self.first_failure = self.first_failure if self.failures else now
        self.failures += 1
        if self.failures >= FAILURES and now - self.first_failure >= PATIENCE:
            self.gave_up = f"{name} failed {self.failures} times one after another, at last: {reason}"


class PublicHosts(AbstractResolver):
    """Names of hosts to addresses, without those of private networks: asked anew for every connection.

    A proxy that the environment names may be private.
    """

    def __init__(self) -> None:
        self._all = aiohttp.ThreadedResolver()
        self._proxies = {(URL(proxy).host, URL(proxy).port) for proxy in getproxies().values() if "://" in proxy}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._all.resolve(host, port, family)
        if (host, port) not in self._proxies and not all(is_public(one["host"]) for one in found):
            raise Refused(f"{host} is an address of a private network (see dataset.addresses.private_hosts)")
        return found

    async def close(self) -> None:
        await self._all.close()


# Networks of IPv6 whose addresses end with one of IPv4, which is where they lead: NAT64, and IPv4-compatible ones.
WITH_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))


def is_public(address: str) -> bool:
    """Whether an IP address (4 or 6) is one of the internet: not of a private network, this machine or its link.

    Raises:
        ValueError: it is no IP address.
    """
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        last = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF) if any(ip in network for network in WITH_IPV4) else None
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1] or last
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast


def proxy_for(url: URL) -> URL | None:
    """The proxy that the environment (http_proxy, https_proxy, no_proxy) names for an address; None for none.

    aiohttp would find it as well, but send the passwords of ~/.netrc to whatever host an archive names.
    """
    proxy = getproxies().get(url.scheme)
    return URL(proxy) if proxy and not proxy_bypass(url.host or "") else None


class Guest:
    """Fetches pictures; an async context manager.

    Args:
        manners: of the config: who fetches, within which limits.
        staging: an empty folder on the file system of the pictures, for those on their way.
        decoders: threads that decode what was fetched.
        room: bytes that may come in all, whether they are pictures or not.
    """

    def __init__(self, manners: Addresses, staging: Path, decoders: Executor, room: float = float("inf")) -> None:
        self.manners, self._staging, self._decoders, self._room = manners, staging, decoders, room
        self._numbers = itertools.count()
        self._hosts: dict[str, _Host] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> "Guest":
        resolver = aiohttp.ThreadedResolver() if self.manners.private_hosts else PublicHosts()
        self._session = aiohttp.ClientSession(
            # Limits are kept here: waiting for a turn is no time that a host took.
            connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
            headers={
                "User-Agent": f"{AGENT}/{version('cladeclip')} ({self.manners.contact})",
                # A packed answer could be any size once it is unpacked, and pictures are packed already.
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(total=self.manners.seconds, sock_connect=TO_CONNECT),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def fetch(self, address: str, target: Path) -> Answer:
        """Brings the picture of an address to `target`, whole or not at all.

        Raises:
            OSError: `target` cannot be written.
        """
        for attempt in range(self.manners.retries + 1):
            if self._room <= 0:
                return Answer(reason=NO_ROOM)
            try:
                return await self._attempt(URL(address), target)
            except (Refused, ValueError) as error:  # yarl says with a ValueError what is wrong with an address
                return Answer(reason=first_line(error))
            except AskAgain as error:
                if attempt == self.manners.retries:
                    return Answer(reason=str(error))
                pause = error.after if error.after is not None else 2**attempt
            except OSError:
                raise
            except Exception as error:  # whatever it is, it is this picture's
                return Answer(reason=f"{type(error).__name__}: {first_line(error)}")
            await asyncio.sleep(pause * (1 + random.random() / 4))
        raise AssertionError("the last attempt returns")

    async def _attempt(self, url: URL, target: Path) -> Answer:
        async with self._ask(url, self._check_robots) as response:
            _check_type(response)
            return await self._save(response, target)

    @asynccontextmanager
    async def _ask(
        self, url: URL, check: Callable[[URL, _Host], Awaitable[None]] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, after redirects; each address is checked before it is asked."""
        for _ in range(MOST_REDIRECTS + 1):
            self._check_address(url)
            host = self._host(url)
            if check is not None:
                await check(url, host)
            async with self._turn(url, host) as response:
                if response.status not in REDIRECTS:
                    yield response
                    return
                if not (place := response.headers.get("Location")):
                    raise Refused(f"HTTP {response.status} without a place to go on to")
                url = response.url.join(URL(place))
        raise Refused(f"more than {MOST_REDIRECTS} redirects")

    def _check_address(self, url: URL) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused(f"{str(url)[:80]} is no address of http or https")
        try:
            public = is_public(url.host)
        except ValueError:  # a name, whose addresses the resolver sees; numbers in other forms aiohttp refuses
            return
        if not public and not self.manners.private_hosts:
            raise Refused(f"{url.host} is an address of a private network (see dataset.addresses.private_hosts)")

    def _host(self, url: URL) -> _Host:
        name = str(url.origin())
        if name not in self._hosts:
            # Evenly spread, without a burst at first.
            rate = AsyncLimiter(1, 1 / self.manners.per_second)
            self._hosts[name] = _Host(asyncio.Semaphore(self.manners.connections), rate)
        return self._hosts[name]

    @asynccontextmanager
    async def _turn(self, url: URL, host: _Host) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, when it is its turn: within the host's limits, and after it asked to be left alone."""
        async with host.free:
            while (wait := host.paused_until - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if host.gave_up:
                raise Refused(host.gave_up)
            await host.rate.acquire()
            async with self._at_once:
                try:
                    async with self._session.get(url, allow_redirects=False, proxy=proxy_for(url)) as response:
                        if response.status in COME_BACK:
                            raise _later(response, host)
                        host.failures = 0
                        if response.status >= 400:
                            raise Refused(f"HTTP {response.status}")
                        yield response
                except aiohttp.InvalidURL as error:
                    raise Refused(f"{str(url)[:80]} cannot be asked ({first_line(error)})") from error
                except aiohttp.ClientSSLError as error:
                    raise Refused(f"no safe connection ({first_line(error)})") from error
                except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
                    reason = _why(error, self.manners.seconds)
                    host.failed(str(url.host), reason)
                    raise AskAgain(reason) from error

    async def _check_robots(self, url: URL, host: _Host) -> None:
        async with host.reading_robots:
            if not host.read_robots:
                host.robots = await self._read_robots(url)
                host.read_robots = True
                delay = host.robots.crawl_delay(AGENT) if host.robots else None
                if delay and delay > LONGEST_PAUSE:
                    host.gave_up = f"robots.txt of {url.host} asks for {delay:.0f} seconds between two requests"
                elif delay:
                    host.rate = AsyncLimiter(1, max(float(delay), 1 / self.manners.per_second))
                    host.free = asyncio.Semaphore(1)
        if host.robots is not None and not host.robots.can_fetch(str(url), AGENT):
            raise Refused(f"robots.txt of {url.host} asks not to fetch it")

    async def _read_robots(self, url: URL) -> Protego | None:
        """None where the host has none, or refuses it. One that fails to give it for now is asked again (RFC 9309)."""
        try:
            content = b""
            async with self._ask(url.origin() / "robots.txt") as response:
                async for chunk in response.content.iter_chunked(CHUNK):
                    content += chunk
                    if len(content) >= LARGEST_ROBOTS:
                        break
        except Refused:
            return None
        return Protego.parse(content.decode("utf-8", "replace"))

    async def _save(self, response: aiohttp.ClientResponse, target: Path) -> Answer:
        most = self.manners.largest_mb * MB
        too_large = f"larger than {self.manners.largest_mb:g} MB"
        if (response.content_length or 0) > most:
            raise Refused(too_large)
        digest, size, held = hashlib.sha256(), 0, bytearray()
        temporary = self._staging / str(next(self._numbers))
        try:
            async for chunk in response.content.iter_chunked(CHUNK):
                size += len(chunk)
                self._room -= len(chunk)
                if size > most:
                    raise Refused(too_large)
                if self._room < 0:
                    raise Refused(NO_ROOM)
                digest.update(chunk)
                held += chunk
                if len(held) >= MB:
                    _append(temporary, held)
                    held.clear()
            await asyncio.get_running_loop().run_in_executor(self._decoders, _finish, temporary, held, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return Answer(digest.hexdigest(), size)


def _later(response: aiohttp.ClientResponse, host: _Host) -> AskAgain | Refused:
    """That the host wants to be asked again; it is left alone until then, with all of its pictures."""
    after = seconds_asked(response.headers.get("Retry-After", ""))
    reason = f"HTTP {response.status}"
    if after is not None:
        reason += f", asks to come back in {after:.0f} seconds"
        host.paused_until = max(host.paused_until, time.monotonic() + min(after, LONGEST_PAUSE))
    if (after or 0) > LONGEST_PAUSE:
        host.paused_until, host.gave_up = 0.0, f"{response.url.host}: {reason}"
        return Refused(host.gave_up)
    host.failed(str(response.url.host), reason)
    return AskAgain(reason, after=after)


def _why(error: BaseException, seconds: float) -> str:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return f"no connection ({first_line(error)})"
    if isinstance(error, TimeoutError):
        return f"took longer than {seconds:g} seconds"
    return f"the connection broke ({first_line(error)})"


def _append(path: Path, content: bytes | bytearray) -> None:
    with path.open("ab") as file:
        file.write(content)


def _finish(temporary: Path, rest: bytes | bytearray, target: Path) -> None:
    """Puts what was fetched to its place if it is a picture."""
    _append(temporary, rest)
    _check_decodes(temporary)
    try:
        temporary.replace(target)
    except FileNotFoundError:  # the first of its folder
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)


def _check_type(response: aiohttp.ClientResponse) -> None:
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in UNSAID:
        raise Refused(f"sent {kind}, not a picture")


def _check_decodes(path: Path) -> None:
    if path.stat().st_size == 0:
        raise Refused("sent nothing")
    try:
        # A JPEG is decoded at an eighth of its size, which reads all of its bytes in less time.
        open_picture(path, reduce_to=1)
    except UNUSABLE as error:
        raise Refused(f"what it sent cannot be decoded ({first_line(error).replace(str(path), 'it')})") from error


def seconds_asked(retry_after: str) -> float | None:
    """The seconds that a Retry-After header (a number or a date) asks to wait; None where it says neither."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
