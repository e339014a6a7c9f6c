"""Captions by InternVL through transformers' own classes (no remote code)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cladeclip.datasets.pictures import open_picture
from cladeclip.encoders.encoder import choose_device
from cladeclip.errors import CladeclipError, first_line
from cladeclip.progress import progress


def from_internvl(
    root: str | Path,
    image_ids: Sequence[str],
    *,
    model: str,
    prompt: str,
    max_new_tokens: int,
    batch_size: int = 8,
    device: str = "auto",
) -> list[str]:
    """One greedy caption a picture.

    Args:
        model: a hub repository whose files were fetched before, or a folder.

    Raises:
        CladeclipError: the model cannot be loaded.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    where = choose_device(device)
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    try:
        processor = AutoProcessor.from_pretrained(model)
        vlm: Any = AutoModelForImageTextToText.from_pretrained(model, dtype=dtype)
        vlm.to(where).eval()
    except (OSError, ValueError) as error:
        raise CladeclipError(
            f"captioner: {model} cannot be loaded ({first_line(error)}). Fetch it where there is internet with "
            f"`hf download {model}`, or set the captioner's model to a folder that holds it."
        ) from error
    processor.tokenizer.padding_side = "left"  # what is generated must follow the prompt, not the padding
    question = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
    text = processor.apply_chat_template(question, add_generation_prompt=True)
    captions: list[str] = []
    starts = range(0, len(image_ids), batch_size)
    for start in progress(starts, total=len(starts), desc="captioning", unit="batches"):
        pictures = [open_picture(Path(root, image_id), 896) for image_id in image_ids[start : start + batch_size]]
        inputs = processor(images=pictures, text=[text] * len(pictures), padding=True, return_tensors="pt")
        inputs = inputs.to(where, dtype)
        with torch.inference_mode():
            tokens = vlm.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        written = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        captions.extend(" ".join(caption.split()) for caption in written)
    return captions
