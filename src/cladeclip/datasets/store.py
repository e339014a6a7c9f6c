"""The picture store: every accepted picture once, reduced to what training needs, in one file that is memory-mapped.

A full-size museum photograph takes 50 ms to decode, its reduced copy 3; training reads each picture once an epoch.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
from PIL import Image

from cladeclip.datasets.pictures import open_prepared
from cladeclip.errors import TableError
from cladeclip.io.atomic import atomic_path
from cladeclip.run.progress import progress
from cladeclip.tables import PICTURES

JPEG_QUALITY = 95
ROWS_PER_BATCH = 256


def build_store(root: str | Path, image_ids: Sequence[str], path: str | Path, *, side: int, workers: int) -> None:
    """Writes the pictures `image_ids` below `root`, shorter side at most `side` pixels, as an Arrow IPC file."""
    reduce = partial(reduced_bytes, root=str(root), side=side)
    with (
        atomic_path(path) as temporary,
        ProcessPoolExecutor(workers) as pool,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, PICTURES) as writer,
    ):
        bar = progress(total=len(image_ids), desc="reducing", unit="pictures")
        for start in range(0, len(image_ids), ROWS_PER_BATCH):
            ids = list(image_ids[start : start + ROWS_PER_BATCH])
            pictures = list(pool.map(reduce, ids, chunksize=8))
            writer.write_batch(pa.record_batch([pa.array(ids), pa.array(pictures, pa.binary())], schema=PICTURES))
            bar.update(len(ids))
        bar.close()


def reduced_bytes(image_id: str, root: str, side: int) -> bytes:
    """The picture as JPEG (quality 95) with a shorter side of at most `side` pixels; smaller ones keep their size."""
    image = open_prepared(root, image_id, reduce_to=side)
    if min(image.size) > side:
        scale = side / min(image.size)
        size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


class PictureStore:
    """Random access to a store: opened in each process when first needed, so that it can be pickled for loader workers."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        table = self._open()
        self.position = {image_id: row for row, image_id in enumerate(table.column("image_id").to_pylist())}
        self._pictures: pa.ChunkedArray | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pictures": None}

    def read(self, image_id: str) -> Image.Image:
        """The stored picture, RGB.

        Raises:
            TableError: the store has no such picture.
        """
        return Image.open(io.BytesIO(self.encoded(image_id))).convert("RGB")

    def encoded(self, image_id: str) -> pa.Buffer:
        """The stored picture as JPEG.

        Raises:
            TableError: the store has no such picture.
        """
        if self._pictures is None:
            self._pictures = self._open().column("picture")
        row = self.position.get(image_id)
        if row is None:
            raise TableError(f"{self.path}: no picture {image_id}; delete the file and run again to rebuild it.")
        return self._pictures[row].as_buffer()

    def _open(self) -> pa.Table:
        try:
            return pa.ipc.open_file(pa.memory_map(self.path)).read_all()
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise TableError(f"{self.path}: not a picture store ({error}); delete it and run again.") from error
