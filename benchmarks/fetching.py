"""Fetching pictures from a host on this machine, against aiohttp alone, which keeps no limits and checks nothing."""

import asyncio
import io
import multiprocessing
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import numpy as np
import pandas as pd
from aiohttp import web
from PIL import Image

from benchmarks.measure import Row, measure, row
from cladeclip.config.sections import Addresses
from cladeclip.datasets.addresses import picture_path
from cladeclip.datasets.fetch_pictures import fetch_pictures

# Requests a second that the host allows: more than are asked of us, so that the program is what limits.
PER_SECOND, CONNECTIONS = 500, 8
PX = 400


def _serve(pipe: Connection) -> None:
    """Sends pictures, and at the end how many requests came within any second, and how many at once."""
    rng = np.random.default_rng(0)
    bodies = []
    for _ in range(16):
        coarse = Image.fromarray(rng.integers(0, 255, (PX // 8, PX // 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((PX, PX), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        bodies.append(file.getvalue())
    times: list[float] = []
    open_now = most_open = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal open_now, most_open
        if request.path == "/robots.txt":
            return web.Response(status=404)
        times.append(asyncio.get_running_loop().time())
        open_now += 1
        most_open = max(most_open, open_now)
        await asyncio.sleep(0.005)  # a host that is near
        open_now -= 1
        return web.Response(body=bodies[hash(request.path) % len(bodies)], content_type="image/jpeg")

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        came = np.sort(times)
        within = np.searchsorted(came, came + 1) - np.arange(len(came))
        pipe.send((int(within.max()), most_open))

    asyncio.run(run())


def a_host(n: int) -> tuple[str, Connection, int]:
    """The address of a host that runs until this process ends, and a pipe that it answers on once it is sent anything."""
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True).start()
    return ours.recv(), ours, n


def fetch_ours(base: str, pipe: Connection, n: int) -> tuple[int, int]:
    addresses = [f"{base}/{number}.jpg" for number in range(n)]
    listed = pd.DataFrame({"image_id": list(map(picture_path, addresses)), "address": addresses})
    manners = Addresses(
        contact="benchmarks", connections=CONNECTIONS, per_second=PER_SECOND, private_hosts=True, retries=0
    )
    with tempfile.TemporaryDirectory() as folder:
        fetched = fetch_pictures(folder, listed, manners, licences=[])
    assert (fetched["reason"] == "").all()
    pipe.send(None)
    limits: tuple[int, int] = pipe.recv()
    return limits


def fetch_theirs(base: str, pipe: Connection, n: int) -> None:
    async def all_of_them(folder: str) -> None:
        numbers = iter(range(n))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

            async def take() -> None:
                for number in numbers:
                    async with session.get(f"{base}/{number}.jpg") as response:
                        Path(folder, f"{number}.jpg").write_bytes(await response.read())

            await asyncio.gather(*(take() for _ in range(CONNECTIONS)))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(all_of_them(folder))


fetch_ours.prepare = a_host  # type: ignore[attr-defined]
fetch_theirs.prepare = a_host  # type: ignore[attr-defined]


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    n = 500 if small else 10_000
    ours_s, ours_mb, (a_second, at_once) = measure(fetch_ours, n)
    peer_s, peer_mb, _ = measure(fetch_theirs, n)
    assert a_second <= PER_SECOND * 1.05 + 1, f"{a_second} requests within a second"
    assert at_once <= CONNECTIONS
    note = (
        f"{n / ours_s:.0f} a second; at most {a_second} requests within one ({PER_SECOND} allowed), {at_once} at once"
    )
    yield row("fetch", f"pictures of {PX} px", n, ours_s, ours_mb, "aiohttp alone", peer_s, peer_mb, note)
