"""A cache of rows by the content they were made from: only missing ones are computed, also after a kill.

A cache is a folder with a folder per shard, which holds chunks: Arrow files that are whole or absent, each with the columns
`content` (a hash of the picture's bytes, or of the caption) and `value`. So renaming a picture computes nothing. The key
says what makes a value (weights, transform, code): chunks under another key are removed.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from cladeclip.io.atomic import atomic_path

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
# A shard without others.
WHOLE = "1-of-1"


@dataclass(frozen=True)
class _Chunk:
    path: Path
    rows: int


class RowCache:
    """Values by content hash, kept below `folder` under `key`. In memory are the hashes, and the values not yet saved.

    Args:
        folder: where the chunks lie. Those of another number of shards are read, too: changing it computes nothing.
        key: what makes a value; those made under another key are removed.
        kind: Arrow type of a value.
        shard: NUMBER-of-SHARDS, the folder that this process alone writes to.
        checkpoint_seconds: how much work a kill may cost.
    """

    def __init__(
        self,
        folder: str | Path,
        key: str,
        kind: pa.DataType,
        shard: str = WHOLE,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.folder, self.key, self.checkpoint_seconds = Path(folder), key, checkpoint_seconds
        self._mine = self.folder / shard
        self._schema = pa.schema([("content", pa.string()), ("value", kind)], {"key": key})
        # Values are numbered as they are found: batch b holds those from _starts[b] on.
        self._number: dict[str, int] = {}
        self._starts: list[int] = []
        self._batches: list[tuple[Path, int]] = []
        self._end = 0
        self._chunks: list[_Chunk] = []
        self._start_collecting()
        self._saved = time.monotonic()
        siblings = shard[shard.index("-of-") :]
        for path in sorted(self.folder.glob("*/*.arrow")):
            # A sibling may be writing; those of another number of shards are of an earlier run.
            if path.parent == self._mine or not path.parent.name.endswith(siblings):
                self._load(path)

    def __len__(self) -> int:
        return len(self._number)

    def fill(self, contents: Sequence[str], make: Callable[[list[int]], Iterable[pa.Array]], what: str) -> None:
        """Computes and saves the values that are missing; the log says `what` happened to how many ("embedded").

        Args:
            make: from positions in `contents` to their values, a piece after the other.
        """
        missing = self.missing(contents)
        start = 0
        for values in make(missing):
            self.add([contents[i] for i in missing[start : start + len(values)]], values)
            start += len(values)
        self.save()
        logger.info("%s %s, reused %s", what, f"{len(missing):,}", f"{len(contents) - len(missing):,}")

    def missing(self, contents: Sequence[str]) -> list[int]:
        """Positions of the first occurrence of every hash that has no value."""
        seen: set[str] = set()
        positions = []
        for position, content in enumerate(contents):
            if content not in self._number and content not in seen:
                seen.add(content)
                positions.append(position)
        return positions

    def add(self, contents: Sequence[str], values: pa.Array) -> None:
        """Keeps values; they reach the disk at the next checkpoint or `save`, and can be taken from then on."""
        self._writer.write_batch(pa.record_batch([pa.array(contents, pa.string()), values], schema=self._schema))
        self._n_new += len(contents)
        if time.monotonic() - self._saved >= self.checkpoint_seconds:
            self.save()

    def save(self) -> None:
        """Writes what is new as a chunk, joined with those before it that are smaller than twice its size.

        So the number of chunks, and how often a row is rewritten, grow with the logarithm of the rows.
        """
        if self._n_new:
            absorbed = []
            n = self._n_new
            while self._chunks and self._chunks[-1].rows < 2 * n:
                absorbed.append(self._chunks.pop())
                n += absorbed[-1].rows
            path = self._mine / f"{time.time_ns():020d}.arrow"
            self._write(path, absorbed[::-1], n)
            for chunk in absorbed:
                chunk.path.unlink(missing_ok=True)
            self._start_collecting()
        self._saved = time.monotonic()

    def take(self, contents: Sequence[str]) -> pa.Array:
        """The saved values of these hashes, in their order. Files are mapped for the call alone."""
        numbers = np.fromiter((self._number[content] for content in contents), dtype=np.int64, count=len(contents))
        batch_of = np.searchsorted(self._starts, numbers, side="right") - 1
        parts = [pa.array([], self._schema.field("value").type)]
        order = np.argsort(batch_of, kind="stable")
        for batch in np.unique(batch_of):
            path, index = self._batches[batch]
            values = _open(path).get_batch(index).column("value")
            parts.append(values.take(pa.array(numbers[batch_of == batch] - self._starts[batch])))
        return pa.concat_arrays(parts).take(pa.array(np.argsort(order)))

    def remove(self) -> None:
        """Removes what this shard wrote."""
        shutil.rmtree(self._mine, ignore_errors=True)

    def _start_collecting(self) -> None:
        # One buffer that grows: thousands of small arrays would lie scattered over the heap and keep it from shrinking.
        self._sink, self._n_new = pa.BufferOutputStream(), 0
        self._writer = pa.ipc.new_stream(self._sink, self._schema)

    def _write(self, path: Path, absorbed: list[_Chunk], n: int) -> None:
        self._writer.close()
        new = pa.ipc.open_stream(self._sink.getvalue()).read_all().combine_chunks()
        with (
            atomic_path(path) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, self._schema) as writer,
        ):
            for table in [*(_open(chunk.path).read_all() for chunk in absorbed), new]:
                writer.write_table(table)
        self._find(path)
        self._chunks.append(_Chunk(path, n))

    def _find(self, path: Path) -> None:
        """Notes where the values of a chunk are."""
        reader = _open(path)
        for index in range(reader.num_record_batches):
            contents = reader.get_batch(index).column("content")
            self._starts.append(self._end)
            self._batches.append((path, index))
            for content in contents.to_pylist():
                self._number[content] = self._end
                self._end += 1

    def _load(self, path: Path) -> None:
        try:
            table = _open(path).read_all()
            table.validate(full=True)
        except (pa.ArrowInvalid, OSError) as error:
            reason = f"is damaged ({error})"
        else:
            if table.schema.equals(self._schema, check_metadata=True):
                self._find(path)
                if path.parent == self._mine:
                    self._chunks.append(_Chunk(path, table.num_rows))
                return
            reason = "was made by other weights, settings or code"
        logger.info("%s %s; its rows are computed again.", path, reason)
        path.unlink(missing_ok=True)


def _open(path: Path) -> pa.RecordBatchFileReader:
    return pa.ipc.open_file(pa.memory_map(str(path)))
