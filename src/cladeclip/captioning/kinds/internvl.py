"""Captions by InternVL through transformers' own classes (no remote code)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch
from PIL import Image

from cladeclip.captioning.specs import Place
from cladeclip.datasets.pictures import open_prepared
from cladeclip.devices import choose_device
from cladeclip.encoders.embed import in_halves
from cladeclip.encoders.hub_sources import captioner_source
from cladeclip.errors import CladeclipError, first_line
from cladeclip.hub import HubError
from cladeclip.io.atomic import read_json, sha256_of_file, write_json
from cladeclip.io.row_cache import RowCache
from cladeclip.run.progress import progress

# Decoding a larger picture at full size would show the model nothing more.
DECODE_PX = 896


class InternVL:
    """Generates one caption per picture, by greedy decoding.

    Args:
        folder: model and processor as transformers saves them.

    Raises:
        CladeclipError: the model cannot be loaded.
    """

    def __init__(self, folder: str | Path, *, prompt: str, max_new_tokens: int, device: str = "auto") -> None:
        from transformers import AutoModelForImageTextToText

        self.max_new_tokens, self.where = max_new_tokens, choose_device(device)
        self.dtype = torch.bfloat16 if self.where.type == "cuda" else torch.float32
        self.processor, self.text = processor_and_question(folder, prompt)
        try:
            model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=self.dtype)
        except (OSError, ValueError) as error:
            raise CladeclipError(
                f"captioner: {folder} cannot be loaded ({first_line(error)}); delete the folder and run again to fetch "
                "it anew, or set the captioner's model to a folder that holds one."
            ) from error
        self.model = model.to(self.where).eval()

    @torch.inference_mode()
    def caption(self, pictures: list[Image.Image]) -> list[str]:
        """One caption a picture, white space collapsed."""
        inputs = self.processor(images=pictures, text=[self.text] * len(pictures), padding=True, return_tensors="pt")
        inputs = inputs.to(self.where, self.dtype)
        tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        written = self.processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [" ".join(caption.split()) for caption in written]


def processor_and_question(folder: str | Path, prompt: str) -> tuple[Any, str]:
    """The processor of a captioner's folder, and the prompt in the model's chat template.

    Both are tried on a grey picture.

    Raises:
        CladeclipError: the folder holds no processor, or one that this version of transformers cannot use.
    """
    import transformers

    question = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
    try:
        processor: Any = transformers.AutoProcessor.from_pretrained(folder)
        processor.tokenizer.padding_side = "left"  # what is generated must follow the prompt, not the padding
        text = processor.apply_chat_template(question, add_generation_prompt=True)
        seen = processor(images=[Image.new("RGB", (64, 64), "grey")], text=[text], return_tensors="pt")
        if "pixel_values" not in seen:
            raise ValueError("it makes no pixel_values of a picture")
    except Exception as error:  # an old processor raises AttributeError, a bad template an error of jinja
        raise CladeclipError(
            f"captioner: the processor in {folder} does not work with transformers {transformers.__version__} "
            f"({type(error).__name__}: {first_line(error)}); it may be of an older state of its repository: delete the "
            "folder and run again to fetch it anew, with the captioner's `revision` at a newer state, or none."
        ) from error
    return processor, text


def captions(images: pd.DataFrame, captioner: Mapping[str, Any], place: Place) -> list[str]:
    """The model's captions; those in the cache are not generated again.

    Raises:
        CladeclipError: the model cannot be loaded.
    """
    settings = {key: captioner[key] for key in ("prompt", "max_new_tokens", "batch_size")}
    key = f"{sha256_of_file(place.model)} {sorted(settings.items())} rows {place.code}"
    ids, contents = list(images["image_id"]), list(images["content_hash"])
    cache = RowCache(place.cache, key, pa.string())
    add_missing_captions(read_json(place.model)["folder"], place.root, ids, contents, cache, **settings)
    return cache.take(contents).to_pylist()


def try_files(folder: str | Path, captioner: Mapping[str, Any]) -> str:
    """Whether the small files of a repository work with this version of transformers; a sentence.

    Raises:
        CladeclipError: they do not.
    """
    _, question = processor_and_question(folder, captioner["prompt"])
    return f"its processor takes a picture and the prompt: {question!r}"


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
    """Captions the pictures below `root` that the cache lacks, by content hash, and adds the captions to it.

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
            pictures = [open_prepared(root, image_ids[i], DECODE_PX) for i in batch]
            yield pa.array(chain(*in_halves(captioner.caption, pictures)), pa.string())

    cache.fill(content_hashes, make, "captioned")


def fetch(name: str, definition: Mapping[str, Any], folder: str | Path) -> None:
    """Brings a captioner's model into `folder` and writes captioner.json: its folder, its source, and its files' sha256.

    A model that is a folder already is used where it is.

    Raises:
        CladeclipError: it has to be downloaded and cannot be, or its processor cannot be used.
    """
    model = folder = Path(folder)
    record: dict[str, Any] = {}
    source = captioner_source(definition)
    if source is None:
        model = Path(definition["model"])
    else:
        try:
            fetched = source.bring(folder)
        except HubError as error:
            raise CladeclipError(
                f"captioner '{name}': {error}. Run `snakemake {folder}/captioner.json` where there is internet (a cluster's "
                f"login node), or fetch it there by `hf download {source.repository} --local-dir DIR` and set "
                f"captioners.{name}.model to that folder."
            ) from error
        # A file of another revision may be left that this one does not have.
        for path in folder.iterdir():
            if path.is_file() and path.name not in fetched.files:
                path.unlink()
        record["sources"] = [fetched.record()]
    processor_and_question(model, definition["prompt"])
    files = sorted(p for p in model.iterdir() if p.is_file() and p.name[0] != "." and p.name != "captioner.json")
    record |= {"folder": str(model), "files": {path.name: {"sha256": sha256_of_file(path)} for path in files}}
    write_json(folder / "captioner.json", record)
