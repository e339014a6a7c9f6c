"""Small pictures for the report, from the picture store, as data URLs: the page needs no file beside it."""

import base64
import io
from pathlib import Path

from cladeclip.datasets.store import PictureStore

SIDE_PX = 96
QUALITY = 75


class Thumbnails:
    """Pictures of a store, at most SIDE_PX wide and high. Where there is no store, or it lacks a picture, there is none."""

    def __init__(self, store: Path) -> None:
        self._store = PictureStore(store) if store.is_file() else None
        self._made: dict[str, str] = {}

    def of(self, image_id: str) -> str:
        """The picture as `data:image/jpeg;base64,...`; an empty text where there is none."""
        if self._store is None or image_id not in self._store.position:
            return ""
        if image_id not in self._made:
            image = self._store.read(image_id)
            image.thumbnail((SIDE_PX, SIDE_PX))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=QUALITY)
            self._made[image_id] = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        return self._made[image_id]
