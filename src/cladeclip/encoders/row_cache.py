"""Embeddings that are already known, by the content of the picture: only missing rows are computed, also after a kill.

A cache is a folder of chunks, each a Parquet file that is whole or absent. Rows are kept under the picture's content hash,
so that renaming a picture computes nothing. Its key says what makes them (weights, transform, code): rows under another key
are dropped.
"""

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cladeclip.errors import TableError
from cladeclip.tables import read_embeddings, read_metadata, write_embeddings

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
# Each kill leaves a chunk; from this many on they are written anew as one.
MAX_CHUNKS = 8


class RowCache:
    """The embeddings (dim) float32 of pictures by content hash, kept below `folder` under `key`.

    Args:
        folder: where the chunks lie.
        key: what makes a row; rows made under another key are removed.
        dim: length of an embedding.
        checkpoint_seconds: how much work a kill may cost.
    """

    def __init__(self, folder: str | Path, key: str, dim: int, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        self.folder, self.key, self.dim, self.checkpoint_seconds = Path(folder), key, dim, checkpoint_seconds
        self.rows: dict[str, np.ndarray] = {}
        self._new: list[str] = []
        self._saved = time.monotonic()
        for chunk in sorted(self.folder.glob("*.parquet")):
            self._load(chunk)

    def missing(self, hashes: Sequence[str]) -> list[int]:
        """Positions of the first occurrence of every hash that has no row."""
        seen = set(self.rows)
        positions = []
        for position, content_hash in enumerate(hashes):
            if content_hash not in seen:
                seen.add(content_hash)
                positions.append(position)
        return positions

    def add(self, hashes: Sequence[str], rows: np.ndarray) -> None:
        """Keeps rows (n, dim); they reach the disk at the next checkpoint or `save`."""
        for content_hash, row in zip(hashes, rows, strict=True):
            self.rows[content_hash] = row
            self._new.append(content_hash)
        if time.monotonic() - self._saved >= self.checkpoint_seconds:
            self.save()

    def save(self) -> None:
        """Writes what is new; many small chunks become one."""
        chunks = sorted(self.folder.glob("*.parquet"))
        if len(chunks) >= MAX_CHUNKS:
            self._write(list(self.rows), len(chunks))
            for chunk in chunks:
                chunk.unlink()
        elif self._new:
            self._write(self._new, len(chunks))
        self._new, self._saved = [], time.monotonic()

    def take(self, hashes: Sequence[str]) -> np.ndarray:
        """The rows (n, dim) of these hashes."""
        rows = np.empty((len(hashes), self.dim), dtype=np.float32)
        for position, content_hash in enumerate(hashes):
            rows[position] = self.rows[content_hash]
        return rows

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, hashes: list[str], number: int) -> None:
        # A name that no chunk has: the number alone may be taken by one that survived a damaged neighbour.
        path = self.folder / f"{number:04d}-{time.time_ns():x}.parquet"
        write_embeddings(path, hashes, self.take(hashes), {"key": self.key})

    def _load(self, chunk: Path) -> None:
        try:
            if read_metadata(chunk).get("key") == self.key:
                hashes, rows = read_embeddings(chunk)
                if rows.shape[1] == self.dim:
                    self.rows.update(zip(hashes, rows, strict=True))
                    return
            reason = "was made by other weights, settings or code"
        except (TableError, OSError, ValueError) as error:
            reason = f"is damaged ({error})"
        logger.info("%s %s; its rows are computed again.", chunk, reason)
        chunk.unlink()
