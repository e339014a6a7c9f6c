"""Captions by InternVL through transformers' own classes (no remote code)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from cladeclip.atomic import sha256_of_file, write_json
from cladeclip.datasets.pictures import open_picture
from cladeclip.encoders.embed import in_halves
from cladeclip.encoders.encoder import choose_device
from cladeclip.encoders.weights import download
from cladeclip.errors import CladeclipError, first_line
from cladeclip.progress import progress
from cladeclip.row_cache import RowCache

# Decoding a larger picture at full size would show the model nothing more.
DECODE_PX = 896


class InternVL:
    """A captioner: pictures in, one greedy caption each out.

    Args:
        folder: model and processor as transformers saves them.

    Raises:
        CladeclipError: the model cannot be loaded.
    """

    def __init__(self, folder: str | Path, *, prompt: str, max_new_tokens: int, device: str = "auto") -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.max_new_tokens, self.where = max_new_tokens, choose_device(device)
        self.dtype = torch.bfloat16 if self.where.type == "cuda" else torch.float32
        try:
            self.processor: Any = AutoProcessor.from_pretrained(folder)
            model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=self.dtype)
        except (OSError, ValueError) as error:
            raise CladeclipError(
                f"captioner: {folder} cannot be loaded ({first_line(error)}); delete the folder and run again to fetch "
                "it anew, or set the captioner's model to a folder that holds one."
            ) from error
        self.model = model.to(self.where).eval()
        self.processor.tokenizer.padding_side = "left"  # what is generated must follow the prompt, not the padding
        question = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        self.text = self.processor.apply_chat_template(question, add_generation_prompt=True)

    @torch.inference_mode()
    def caption(self, pictures: list[Image.Image]) -> list[str]:
        """One caption a picture, white space collapsed."""
        inputs = self.processor(images=pictures, text=[self.text] * len(pictures), padding=True, return_tensors="pt")
        inputs = inputs.to(self.where, self.dtype)
        tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        written = self.processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [" ".join(caption.split()) for caption in written]


def add_missing_captions(
    folder: str | Path,
    root: str | Path,
    image_ids: Sequence[str],
    content_hashes: Sequence[str],
    cache: RowCache,
    *,
    prompt: str,
    max_new_tokens: int,
    batch_size: int,
    device: str = "auto",
) -> None:
    """Captions the pictures below `root` whose content the cache does not know, into the cache.

    Raises:
        CladeclipError: the model cannot be loaded.
    """

    def make(positions: list[int]) -> Iterator[pa.Array]:
        if not positions:
            return
        captioner = InternVL(folder, prompt=prompt, max_new_tokens=max_new_tokens, device=device)
        starts = range(0, len(positions), batch_size)
        for start in progress(starts, total=len(starts), desc="captioning", unit="batches"):
            batch = positions[start : start + batch_size]
            pictures = [open_picture(Path(root, image_ids[i]), DECODE_PX) for i in batch]
            yield pa.array(chain(*in_halves(captioner.caption, pictures)), pa.string())

    cache.fill(content_hashes, make, "captioned")


def make_captioner_folder(name: str, definition: Mapping[str, Any], folder: str | Path) -> None:
    """Brings a captioner's model into `folder` and writes captioner.json: where it lies, and the sha256 of its files.

    A model that is a folder already is used where it is.

    Raises:
        CladeclipError: it has to be downloaded and cannot be.
    """
    folder = Path(folder)
    model = Path(definition["model"])
    if not model.is_dir():
        model = folder
        download(f"captioner '{name}'", definition["model"], folder, f"captioners.{name}.model")
    files = sorted(p for p in model.iterdir() if p.is_file() and p.name[0] != "." and p.name != "captioner.json")
    hashes = {path.name: {"sha256": sha256_of_file(path)} for path in files}
    write_json(folder / "captioner.json", {"folder": str(model), "files": hashes})
