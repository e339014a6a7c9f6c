"""Files that are either whole or absent: written to a temporary name in the same folder, then renamed."""

import glob
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` if the block succeeds, removes it if not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_what_the_killed_left(path)
    # The suffix is kept, since some writers choose their format by it. On a cluster two nodes may have the same process id.
    temporary = path.with_name(f".{path.stem}.{socket.gethostname()}-{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_what_the_killed_left(path: Path) -> None:
    """Removes temporary files of `path` left by dead processes of this machine."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        host, _, process = (
            left.name.removesuffix(f".partial{path.suffix}").removeprefix(f".{path.stem}.").rpartition("-")
        )
        if host == socket.gethostname() and process.isdigit() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON with sorted keys, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_of_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes, read in constant memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
