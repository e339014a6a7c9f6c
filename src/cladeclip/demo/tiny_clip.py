"""The demo's teacher: a tiny CLIP, trained on drawn specimens of other species and their captions.

    python -m cladeclip.demo.tiny_clip [FOLDER]

makes it again in about four minutes on two cores, on the same kind of machine byte for byte. It lies in the package
(`teacher/`), weights as 16-bit floats, with a tokenizer that knows the words of the captions and no others. The loss is
CLIP's (Radford et al., ICML 2021).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cladeclip.demo.specimens import CATEGORIES, PATTERNS, Species, draw_individual
from cladeclip.encoders.families.open_clip import CONFIG, PREPROCESSING
from cladeclip.encoders.open_clip_library import open_clip_for
from cladeclip.encoders.specs import WEIGHTS
from cladeclip.encoders.weights import save_weights
from cladeclip.io.atomic import sha256_of_file, write_json
from cladeclip.random_streams import stream_of
from cladeclip.run.progress import progress

FOLDER = Path(__file__).parent / "teacher"
SPECIES, INDIVIDUALS, IMAGE_PX = 700, 6, 96
EPOCHS, BATCH, RATE, WARM_UP = 20, 128, 1e-3, 0.05
SEED = 5
SPECIAL = {"pad_token": "[PAD]", "bos_token": "[BOS]", "eos_token": "[EOS]", "unk_token": "[UNK]"}
CONTEXT = 32


def model_config(words: int) -> dict[str, Any]:
    """open_clip's config of a model whose tokenizer knows so many words."""
    return {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "patch_size": 8, "width": 96, "layers": 4, "head_width": 32},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": words,
            "width": 64,
            "heads": 2,
            "layers": 2,
            "hf_tokenizer_name": "words",  # of any name: the files lie in the model's folder
            # CLIP pools at the token with the highest id, its end of text; here the end of text has the id below.
            "pool_type": "eos",
            "eos_id": 2,
        },
    }


def other_species(number: int, seed: int) -> Species:
    """A species of the demo's body plans with a shape, colours and markings of its own."""
    of_species = stream_of(seed, f"another species {number}")
    category = str(of_species.choice(sorted(CATEGORIES)))
    return Species(
        category=category,
        genus="Exemplar",
        name=f"Exemplar {number}",
        slenderness=float(of_species.uniform(0.7, 1.45)),
        tail=float(of_species.uniform(0.55, 1.45)),
        hue=float(of_species.random()),
        saturation=float(of_species.uniform(0.55, 0.9)),
        second_hue=float(of_species.random()),
        pattern=str(of_species.choice(PATTERNS)),
        repeats=int(of_species.choice((3, 5, 7))),
    )


def pictures_and_captions() -> tuple[list[Image.Image], list[str]]:
    drawn = [
        draw_individual(other_species(number, SEED), IMAGE_PX, individual, SEED)
        for number in progress(range(SPECIES), total=SPECIES, desc="drawing", unit="species")
        for individual in range(INDIVIDUALS)
    ]
    return [picture for picture, _ in drawn], [caption for _, caption in drawn]


def write_tokenizer(captions: list[str], folder: Path) -> int:
    """Writes a tokenizer of whole words in the form that transformers loads; returns how many tokens it knows."""
    words = [*SPECIAL.values(), *sorted({word for caption in captions for word in caption.split()})]
    bos, eos = SPECIAL["bos_token"], SPECIAL["eos_token"]
    ids = {word: number for number, word in enumerate(words)}

    def special(token: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": 0}}

    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": ids[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False}
                | {"normalized": False, "special": True}
                for token in SPECIAL.values()
            ],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [special(bos), {"Sequence": {"id": "A", "type_id": 0}}, special(eos)],
                "pair": [special(bos), {"Sequence": {"id": "A", "type_id": 0}}, special(eos)],
                "special_tokens": {
                    token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (bos, eos)
                },
            },
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": ids, "unk_token": SPECIAL["unk_token"]},
        },
    )
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, **SPECIAL}
    write_json(folder / "tokenizer_config.json", settings)
    return len(words)


def train(model: Any, pictures: Tensor, tokens: Tensor) -> float:
    """Trains both towers to find each picture's caption among those of the batch; returns the last epoch's mean loss."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
    steps = EPOCHS * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=WARM_UP)
    losses: list[float] = []
    model.train()
    for epoch in progress(range(EPOCHS), total=EPOCHS, desc="training", unit="epochs"):
        order = torch.from_numpy(stream_of(SEED, f"epoch {epoch}").permutation(len(pictures)))
        losses.clear()
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            image, text, scale = model(pictures[batch], tokens[batch])
            logits = scale * image @ text.T
            target = torch.arange(BATCH)
            loss = (
                torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
            ) / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, np.log(100))
            losses.append(loss.item())
    return float(np.mean(losses))


def main(folder: Path) -> None:
    torch.manual_seed(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    pictures, captions = pictures_and_captions()
    config = model_config(write_tokenizer(captions, folder))
    open_clip = open_clip_for(None)
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": {}})
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}", load_weights=False)
    seen = {key: model.visual.preprocess_cfg[key] for key in PREPROCESSING}
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": seen})
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    loss = train(model, torch.stack([transform(picture) for picture in pictures]), tokenize(captions))
    # Half of the bytes, and no difference that the demo could see.
    save_weights(model.half(), folder / WEIGHTS)
    print(f"loss of the last epoch {loss:.3f}; {WEIGHTS}: sha256 {sha256_of_file(folder / WEIGHTS)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
