"""Small pictures for the report, from the picture store, as data URLs: the page needs no file beside it."""

import base64
import io
from math import inf
from pathlib import Path

from cladeclip.datasets.store import PictureStore

SIDE_PX = 96
QUALITY = 75


class Thumbnails:
    """Pictures of a store, reduced. Where there is no store, or it lacks a picture, there is none.

    Args:
        limit: characters that all pictures may take together; those that are asked for later are left out.

    Attributes:
        characters: that the pictures given so far take.
        left_out: pictures that there was no room for.
    """

    def __init__(self, store: Path, limit: float = inf) -> None:
        self.limit, self.characters, self.left_out = limit, 0, 0
        self._store = PictureStore(store) if store.is_file() else None
        self._made: dict[tuple[str, int], bytes] = {}

    def of(self, image_id: str, side: int = SIDE_PX) -> str:
        """The picture, at most `side` pixels wide and high, as a data URL; empty where there is none or no room for it."""
        if self._store is None or image_id not in self._store.position:
            return ""
        if (image_id, side) not in self._made:
            image = self._store.read(image_id)
            image.thumbnail((side, side))
            buffer = io.BytesIO()
            # Of pictures as small as these, half of a JPEG is its header.
            image.save(buffer, "WEBP", quality=QUALITY)
            self._made[image_id, side] = buffer.getvalue()
        return self.inline(self._made[image_id, side], "webp")

    def inline(self, picture: bytes, kind: str) -> str:
        """Bytes of a picture (webp, jpeg) as a data URL; empty where there is no room for it."""
        found = f"data:image/{kind};base64," + base64.b64encode(picture).decode()
        if self.characters + len(found) > self.limit:
            self.left_out += 1
            return ""
        self.characters += len(found)
        return found
