"""The server: what huggingface_hub, open_clip, timm and transformers ask of the hub, answered as the hub does.

Repository information, trees with paging, files by HEAD and GET with ETag, commit, Range and redirects, and its refusals:
404 of what is not there, 401 of a repository that asks for consent, 429 with Retry-After, 5xx. What goes wrong on a bad
network is ordered with `Hub.fault`.
"""

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

# Files of these kinds lie outside of git, as the hub stores large ones: they are known by their sha256, and redirected.
LARGE = (".safetensors", ".bin", ".pt", ".jpg", ".jpeg", ".png", ".parquet")
PAGE = 1000
PIECE = 1 << 16


@dataclass(frozen=True)
class Stored:
    """A file: its path on this disk, and what the hub says of it."""

    path: Path
    size: int
    sha1: str
    sha256: str | None

    @classmethod
    def read(cls, path: Path) -> "Stored":
        size, large = path.stat().st_size, path.suffix.lower() in LARGE
        git, whole = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                git.update(piece)
                if large:
                    whole.update(piece)
        return cls(path, size, git.hexdigest(), whole.hexdigest() if large else None)

    @property
    def etag(self) -> str:
        return self.sha256 or self.sha1


@dataclass
class HubRepository:
    """A repository whose files are those of a folder.

    Attributes:
        commit: its only one, which is also `main`; the same files are the same commit where none is given.
        gated: it asks for consent.
    """

    name: str
    folder: Path
    kind: str = "models"
    licence: str = "mit"
    gated: bool = False
    commit: str = ""

    def __post_init__(self) -> None:
        self.pinned = bool(self.commit)
        self.read_again()

    def read_again(self) -> None:
        """After files of the folder were changed."""
        self.__dict__.pop("files", None)
        if not self.pinned:
            listed = [(name, file.sha1) for name, file in self.files.items()]
            self.commit = hashlib.sha1(repr(listed).encode()).hexdigest()

    @cached_property
    def files(self) -> dict[str, Stored]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): Stored.read(path) for path in paths}

    def has(self, revision: str) -> bool:
        return revision in ("main", self.commit)

    def entry(self, name: str) -> dict[str, Any]:
        file = self.files[name]
        found: dict[str, Any] = {"type": "file", "oid": file.sha1, "size": file.size, "path": name}
        if file.sha256:
            found["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 130}
        return found

    def tree(self, below: str, recursive: bool) -> list[dict[str, Any]]:
        prefix = f"{below}/" if below else ""
        entries: dict[str, dict[str, Any]] = {}
        for name in self.files:
            if name.startswith(prefix):
                rest = name.removeprefix(prefix)
                parents = [prefix + rest[: found.start()] for found in re.finditer("/", rest)]
                for folder in parents if recursive else parents[:1]:
                    entries[folder] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
                if recursive or not parents:
                    entries[name] = self.entry(name)
        return [entries[name] for name in sorted(entries)]


@dataclass
class Fault:
    """What goes wrong with requests whose target holds `where`.

    kind: `cut` (the connection is reset after half of what is asked for), `short` (the body ends there, as if it were
    whole), `hang` (the rest comes after `Hub.go_on` is set), `other` (another byte in the middle), `whole` (Range is not
    understood), or the status of an answer (429, ...).
    """

    where: str
    kind: str | int
    times: float
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)


class Hub:
    """The running server; a context manager that stops it."""

    def __init__(self, *repositories: HubRepository) -> None:
        self.repositories = {(one.kind, one.name): one for one in repositories}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.go_on = threading.Event()
        hub = self

        class Bound(_Handler):
            def setup(self) -> None:
                self.hub = hub
                super().setup()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """A client that went away is none of our business."""

        self.server = Server(("127.0.0.1", 0), Bound)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fault(self, where: str, kind: str | int, *, times: float = 1, method: str = "GET", **headers: str) -> None:
        self.faults.append(Fault(where, kind, times, method, headers))

    def strikes(self, target: str, method: str, *, in_body: bool) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                of_body = isinstance(fault.kind, str)
                if fault.times > 0 and fault.method == method and fault.where in target and of_body == in_body:
                    fault.times -= 1
                    return fault
        return None

    def served(self, pattern: str) -> list[str]:
        """The requests so far whose line `METHOD TARGET [Range]` the pattern is found in."""
        return [line for line in self.requests if re.search(pattern, line)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Requests are kept in `Hub.requests`."""

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def answer(self, body: bytes = b"") -> None:
        with self.hub.lock:
            self.hub.requests.append(f"{self.command} {unquote(self.path)} {self.headers.get('Range', '')}".rstrip())
        if fault := self.hub.strikes(self.path, self.command, in_body=False):
            headers = {key.replace("_", "-"): value for key, value in fault.headers.items()}
            return self.send(int(fault.kind), b'{"error": "not now"}', headers)
        url = urlsplit(self.path)
        parts, query = [unquote(part) for part in url.path.strip("/").split("/")], parse_qs(url.query)
        if parts[0] == "api" and parts[1] in ("models", "datasets"):
            return self.api(parts[1], "/".join(parts[2:4]), parts[4:], query, body)
        if parts[:2] == ["api", "resolve-cache"]:  # where the hub redirects small files
            return self.file(parts[2], "/".join(parts[3:5]), parts[5], "/".join(parts[6:]), redirected=True)
        if parts[0] == "cdn":
            return self.file(parts[1], "/".join(parts[2:4]), parts[4], "/".join(parts[5:]), redirected=True)
        kind = parts.pop(0) if parts[0] == "datasets" else "models"
        if len(parts) > 4 and parts[2] == "resolve":
            return self.file(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self.refuse(404, "EntryNotFound", "no such page")

    def repository(self, kind: str, name: str, revision: str) -> HubRepository | None:
        found = self.hub.repositories.get((kind, name))
        if found is None:
            self.refuse(401, "RepoNotFound", "Repository not found")
        elif found.gated:
            self.refuse(401, "GatedRepo", f"Access to {kind[:-1]} {name} is restricted.")
        elif not found.has(revision):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return found
        return None

    def api(self, kind: str, name: str, rest: list[str], query: dict[str, list[str]], body: bytes) -> None:
        what = rest[0] if rest else "revision"
        revision = rest[1] if len(rest) > 1 else "main"
        # Information on a repository that asks for consent is public; its files are not.
        known = self.hub.repositories.get((kind, name))
        if what == "revision" and known is not None and known.has(revision):
            return self.send_json(self.information(known, blobs="blobs" in query))
        repository = self.repository(kind, name, revision)
        if repository is None:
            return None
        if what == "tree":
            below = "/".join(rest[2:])
            entries = repository.tree(below, query.get("recursive", ["false"])[0].lower() == "true")
            if below and not entries:
                return self.refuse(404, "EntryNotFound", f"{below} does not exist on {revision}")
            start = int(query.get("cursor", ["0"])[0])
            headers = {}
            if start + PAGE < len(entries):
                arguments = "&".join(f"{key}={quote(query[key][0])}" for key in query if key != "cursor")
                path = urlsplit(self.path).path
                headers["Link"] = f'<{self.hub.endpoint}{path}?{arguments}&cursor={start + PAGE}>; rel="next"'
            return self.send_json(entries[start : start + PAGE], headers)
        if what == "paths-info":
            paths = parse_qs(body.decode()).get("paths") or json.loads(body or b"{}").get("paths", [])
            return self.send_json([repository.entry(path) for path in paths if path in repository.files])
        return self.refuse(404, "EntryNotFound", "no such page")

    def information(self, repository: HubRepository, blobs: bool) -> dict[str, Any]:
        siblings = []
        for name, file in repository.files.items():
            sibling: dict[str, Any] = {"rfilename": name}
            if blobs:
                sibling |= {"size": file.size, "blobId": file.sha1}
                if file.sha256:
                    sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 130}
            siblings.append(sibling)
        return {
            "_id": "0" * 24,
            "id": repository.name,
            "sha": repository.commit,
            "private": False,
            "gated": "auto" if repository.gated else False,
            "tags": [f"license:{repository.licence}"],
            "cardData": {"license": repository.licence},
            "siblings": siblings,
        }

    def file(self, kind: str, name: str, revision: str, path: str, *, redirected: bool = False) -> None:
        repository = self.repository(kind, name, revision)
        if repository is None:
            return None
        stored = repository.files.get(path)
        headers = {"X-Repo-Commit": repository.commit}
        if stored is None:
            return self.refuse(404, "EntryNotFound", f"{path} does not exist", headers)
        headers |= {"ETag": f'"{stored.etag}"', "Accept-Ranges": "bytes"}
        if not redirected:
            # Large files lie on another host, small ones behind a cache of this one.
            place = "cdn" if stored.sha256 else "api/resolve-cache"
            target = f"/{place}/{kind}/{quote(name)}/{repository.commit}/{quote(path)}"
            headers["Location"] = self.hub.endpoint + target if stored.sha256 else target
            if stored.sha256:
                headers |= {"X-Linked-Etag": f'"{stored.sha256}"', "X-Linked-Size": str(stored.size)}
            return self.send(302 if stored.sha256 else 307, b"", headers)
        return self.send_file(stored, headers)

    def send_file(self, stored: Stored, headers: dict[str, str]) -> None:
        fault = self.hub.strikes(self.path, self.command, in_body=True)
        kind = fault.kind if fault else None
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and kind != "whole":
            start = int(asked[1])
            if start >= stored.size:
                return self.send(416, b"", {"Content-Range": f"bytes */{stored.size}"})
            status, headers["Content-Range"] = 206, f"bytes {start}-{stored.size - 1}/{stored.size}"
        length = stored.size - start
        sent = (length + 1) // 2 if kind in ("cut", "short", "hang") else length
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(sent if kind == "short" else length)}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        with stored.path.open("rb") as file:
            file.seek(start)
            middle, left = length // 2, sent
            while left > 0 and (piece := file.read(min(PIECE, left))):
                at = sent - left
                if kind == "other" and at <= middle < at + len(piece):
                    changed = bytearray(piece)
                    changed[middle - at] ^= 1
                    piece = bytes(changed)
                self.wfile.write(piece)
                left -= len(piece)
        if kind == "hang":
            self.hub.go_on.wait(60)
            with stored.path.open("rb") as file:
                file.seek(start + sent)
                self.wfile.write(file.read())
        if kind == "cut":
            time.sleep(0.1)  # what was sent arrives
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        return None

    def refuse(self, status: int, code: str, said: str, headers: Mapping[str, str] = {}) -> None:
        self.send(
            status, json.dumps({"error": said}).encode(), {"X-Error-Code": code, "X-Error-Message": said, **headers}
        )

    def send_json(self, value: Any, headers: Mapping[str, str] = {}) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
