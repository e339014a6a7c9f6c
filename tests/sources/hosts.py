"""A host of pictures on this machine that behaves as hosts of the internet may."""

import asyncio
import io
import struct
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from aiohttp import web
from PIL import Image


def jpeg(seed: int, px: int = 64) -> bytes:
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (px, px, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70)
    return file.getvalue()


def png_bomb() -> bytes:
    """A small PNG file of 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


class Host:
    """What it was asked, and how it answers.

    Attributes:
        asked: the paths that were asked for, and how often.
        at_once, most_at_once: connections that are being answered.
        times: when each request came, in seconds.
        agents, passwords: what those who asked called themselves, and sent as proof.
        bytes_of: what `/again/NAME` sends, by name.
        robots: its robots.txt; None for none, a number for a status.
        folder: what `/file/PATH` sends the files of.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.agents: set[str] = set()
        self.passwords: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.bytes_of: dict[str, bytes] = {}
        self.robots: str | int | None = None
        self.delay = 0.0
        self.folder = Path()
        self.fails: dict[str, int] = defaultdict(int)
        self.pictures = [jpeg(seed) for seed in range(8)]
        self.base = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/robots.txt":
            if self.robots is None or isinstance(self.robots, int):
                return web.Response(status=self.robots or 404)
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            # In two pieces, as a network may bring it.
            half = len(self.robots) // 2
            for piece in (self.robots[:half], self.robots[half:]):
                await response.write(piece.encode())
                await asyncio.sleep(0.05)
            return response
        self.asked[request.path] += 1
        self.times.append(time.monotonic())
        self.agents.add(request.headers.get("User-Agent", ""))
        self.passwords.add(request.headers.get("Authorization", ""))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            return await self._of(request)
        finally:
            self.at_once -= 1

    async def _of(self, request: web.Request) -> web.StreamResponse:
        kind, *rest = request.path.strip("/").split("/")
        name = rest[0] if rest else ""
        picture = self.pictures[zlib.crc32(name.encode()) % len(self.pictures)]
        match kind:
            case "picture":
                return _jpeg(picture)
            case "again":
                return _jpeg(self.bytes_of[name])
            case "file":
                return web.FileResponse(self.folder / "/".join(rest))
            case "unsaid":
                return web.Response(body=picture, content_type="application/octet-stream")
            case "html":
                return web.Response(text="<html>Sign in, please</html>", content_type="text/html")
            case "html-as-jpeg":
                return _jpeg(b"<html>Sign in, please</html>")
            case "nothing":
                return _jpeg(b"")
            case "cut":
                return _jpeg(picture[: len(picture) // 2])
            case "bomb":
                return web.Response(body=png_bomb(), content_type="image/png")
            case "status":
                return web.Response(status=int(name))
            case "busy":  # /busy/TIMES/STATUS/RETRY-AFTER/name: answers so often with that, then with the picture
                times, status, after = int(rest[0]), int(rest[1]), rest[2]
                self.fails[request.path] += 1
                if self.fails[request.path] <= times:
                    return web.Response(status=status, headers={} if after == "-" else {"Retry-After": after})
                return _jpeg(picture)
            case "to":  # /to/?place=...: a redirect
                return web.Response(status=302, headers={"Location": request.query["place"]})
            case "loop":
                return web.Response(status=302, headers={"Location": request.path})
            case "slow":
                await asyncio.sleep(30)
                return _jpeg(picture)
            case "trickle" | "endless":
                return await self._stream(request, 0.2 if kind == "trickle" else 0, None)
            case "huge":
                return await self._stream(request, 0, 10_000_000_000)
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "short":
                response = web.StreamResponse(headers={"Content-Type": "image/jpeg", "Content-Length": "100000"})
                await response.prepare(request)
                await response.write(picture[:1000])
                assert request.transport is not None
                request.transport.close()
                return response
        return web.Response(status=404)

    async def _stream(self, request: web.Request, pause: float, length: int | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        response.content_length = length
        await response.prepare(request)
        chunk = bytes(100) if pause else bytes(200_000)
        for _ in range(100_000):
            await response.write(chunk)
            await asyncio.sleep(pause)
        return response

    def address(self, path: str) -> str:
        return f"{self.base}/{path}"


def _jpeg(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="image/jpeg")


@contextmanager
def host_of_pictures() -> Iterator[Host]:
    """A running host, in a thread of its own."""
    host, started, loop = Host(), threading.Event(), asyncio.new_event_loop()

    async def start() -> None:
        app = web.Application()
        app.router.add_route("GET", "/{path:.*}", host.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield host
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
