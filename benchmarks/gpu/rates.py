"""How fast a GPU works, beside what limits it in the same run; and how long the default experiment takes with it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.gpu.setting import CONFIG, STUDENT, TEACHER, Check, Finding, Setting
from cladeclip.clustering.lloyd import kmeans
from cladeclip.encoders.embed import Pictures, embed_images
from cladeclip.encoders.encoder import Encoder, half_precision
from cladeclip.evaluation.evaluate import evaluate
from cladeclip.plan import all_models, encoders_in_use, labels_on, trainings
from cladeclip.run.needs import FITTED, MAP_SECONDS
from cladeclip.training.classes import of_classes
from cladeclip.training.loop import Training, encoder_precision, picture_groups, train_mode
from cladeclip.training.optimisation import one_cycle

# Of VLM4Bio.
N = 31_452
# Of the default config's encoders: the forward pass of these architectures is measured in their place.
ARCHITECTURES = {
    "vit-h": TEACHER,
    "vit-b-32": STUDENT,
    "openclip-b-32": "ViT-B-32",
    "bioclip": "ViT-B-16",
    "bioclip-2": "ViT-L-14",
}


def resident_rate(setting: Setting, encoder: Encoder, batch_size: int, steps: int) -> float:
    """Pictures a second of forward, backward and AdamW on a batch that lies on the device."""
    tower = encoder.tower
    train_mode(tower, "frozen")
    optimiser = torch.optim.AdamW(tower.parameters(), lr=1e-5, fused=True)
    batch = torch.randn(batch_size, 3, encoder.image_px, encoder.image_px, device=setting.device)

    def step() -> None:
        with encoder_precision(setting.device, "auto"):
            loss = tower(batch).float().square().mean()
        with encoder_precision(setting.device, "auto", backward=True):
            loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    for _ in range(3):
        step()
    return batch_size / setting.seconds(step, times=steps)


def training(setting: Setting) -> Iterator[Finding]:
    batch_size, warm, steps = (8, 2, 4) if setting.small else (128, 15, 100)
    limit = resident_rate(setting, setting.encoder(STUDENT), batch_size, steps // 2)
    settings = setting.settings(batch_size=batch_size, epochs=10_000)
    encoder, ids = setting.encoder(STUDENT), list(setting.store.position) * 100
    targets = of_classes(ids, np.arange(len(ids)) % 2000, 2000)
    made = Training(encoder, targets, settings, one_cycle(settings, 10_000), seed=5, device=setting.device)
    groups = picture_groups(encoder, setting.store, targets, settings, made, workers=setting.cores)
    for _ in range(warm):
        made.take_step(next(groups), 1)
    taken = setting.seconds(lambda: [made.take_step(next(groups), 1) for _ in range(steps)])
    value = steps * batch_size / taken
    share = value / limit
    yield Finding(
        f"training {STUDENT}, batch {batch_size}, augment timm, from the store",
        value,
        "pictures/s",
        limit,
        share,
        "≥ 0.85 of forward, backward and AdamW on a resident batch",
        share >= 0.85 if setting.judged else None,
        f"{setting.cores} workers",
    )
    # The same steps with one batch that has been read: what the loader leaves waiting.
    group = next(groups)
    taken = setting.seconds(lambda: made.take_step(group, 1), times=steps)
    yield Finding(
        "the same without reading",
        batch_size / taken,
        "pictures/s",
        limit,
        batch_size / taken / limit,
        note="same limit",
    )
    read = setting.seconds(lambda: [next(groups) for _ in range(steps)])
    yield Finding("reading alone", steps * batch_size / read, "pictures/s", note=f"{setting.cores} workers")


@torch.inference_mode()
def bare_forward(setting: Setting, encoder: Encoder, batch_size: int) -> float:
    """Pictures a second of the tower on a batch that lies on the device, as embedding runs it."""
    encoder.tower.eval().to(memory_format=torch.channels_last)
    batch = torch.randn(batch_size, 3, encoder.image_px, encoder.image_px, device=setting.device)

    def forward() -> None:
        with half_precision(setting.device, CONFIG["embed"]["precision"]):
            encoder.encode_images(batch)

    forward()
    return batch_size / setting.seconds(forward, times=4 if setting.small else 10)


def decoding(setting: Setting, encoder: Encoder, pictures: list[str], batch_size: int) -> float:
    """Pictures a second of decoding and the encoder's transform on all cores, the start of the processes not counted."""
    data = Pictures(setting.root, pictures, encoder, fast=True)
    batches = iter(DataLoader(data, batch_size, num_workers=setting.cores))
    next(batches)
    read = [0]
    taken = setting.seconds(lambda: read.append(sum(len(batch) for batch in batches)))
    return sum(read) / taken


def embedding(setting: Setting) -> Iterator[Finding]:
    batch_size = 4 if setting.small else CONFIG["embed"]["batch_size"]
    for architecture, n, least in ((TEACHER, 3_200, 0.9), (STUDENT, 16_000, 0.85)):
        encoder = setting.encoder(architecture)
        wanted = (setting.pictures * (1 + n // len(setting.pictures)))[: 64 if setting.small else n]
        limit, against = bare_forward(setting, encoder, batch_size), "the bare forward"
        if architecture == STUDENT:
            decoded = decoding(setting, encoder, wanted, batch_size)
            limit, against = min((limit, "the bare forward"), (decoded, "decoding on all cores"))
        embed = partial(embed_images, encoder, setting.root, wanted, batch_size=batch_size, workers=setting.cores)
        taken = setting.seconds(partial(embed, device=str(setting.device)))
        share = len(wanted) / taken / limit
        yield Finding(
            f"embedding with {architecture}",
            len(wanted) / taken,
            "pictures/s",
            limit,
            share,
            f"≥ {least} of {against}",
            share >= least if setting.judged else None,
            f"{len(wanted):,} drawn pictures, start of the workers included",
        )


def clustering(setting: Setting) -> Iterator[Finding]:
    _, points, _ = setting.collection(1024)
    k = 50 if setting.small else 2000
    value = setting.seconds(lambda: kmeans(points, k, seed=5, device=str(setting.device)))
    what = f"k-means, n = {len(points):,}, d = {points.shape[1]}, k = {k}"
    yield Finding(what, value, "s", 10, 10 / value, "≤ 10 s", value <= 10 if setting.judged else None)


def evaluation(setting: Setting) -> Iterator[Finding]:
    images, points, split = setting.collection(512)
    settings = {"protocol": "all", "query_share": 0.2, "seed": 5, "repeats": 5}
    probe = {"c": 1.0, "max_iterations": 1000}

    def seconds(device: torch.device) -> float:
        return setting.seconds(lambda: evaluate(images, points, split, probe=probe, device=device, **settings))

    value = seconds(setting.device)
    what = f"evaluation of a model, n = {len(points):,}, d = {points.shape[1]}, five draws, with the probe"
    yield Finding(what, value, "s", 10, 10 / value, "≤ 10 s", value <= 10 if setting.judged else None)
    torch.set_num_threads(CONFIG["eval"]["threads"])
    on_cores = seconds(torch.device("cpu")) if setting.on_gpu else value
    torch.set_num_threads(setting.cores)
    note = f"as the workflow's jobs do it, {CONFIG['eval']['threads']} cores each, beside trainings"
    yield Finding("the same evaluation on the CPU", on_cores, "s", note=note)


@torch.inference_mode()
def captions(setting: Setting) -> Iterator[Finding]:
    """InternVL3-2B's shape with random weights; a picture is one tile (256 tokens), a caption as long as allowed."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    captioner = CONFIG["captioners"]["internvl"]
    new, asked = (4, 4) if setting.small else (captioner["max_new_tokens"], captioner["batch_size"])
    shape: dict[str, Any] = (
        {"vision": (32, 64, 2, 2), "text": (32, 64, 2, 2, 1)}
        if setting.small
        else {"vision": (1024, 4096, 24, 16), "text": (1536, 8960, 28, 12, 2)}
    )
    side, token = 448, 151_667
    (width, inner, layers, heads), (t_width, t_inner, t_layers, t_heads, t_groups) = shape["vision"], shape["text"]
    config = InternVLConfig(
        vision_config={
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": [side, side],
            "patch_size": [14, 14],
        },
        text_config={
            "model_type": "qwen2",
            "hidden_size": t_width,
            "intermediate_size": t_inner,
            "num_hidden_layers": t_layers,
            "num_attention_heads": t_heads,
            "num_key_value_heads": t_groups,
            "vocab_size": 151_674,
        },
        image_token_id=token,
    )
    dtype = torch.bfloat16 if setting.on_gpu else torch.float32
    torch.set_default_dtype(dtype)
    try:
        with setting.device:
            model: Any = InternVLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    tokens = torch.cat([torch.full((asked, 256), token), torch.full((asked, 40), 100)], 1).to(setting.device)
    pixels = torch.zeros(asked, 3, side, side, dtype=dtype, device=setting.device)

    def write() -> None:
        model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            pixel_values=pixels,
            min_new_tokens=new,
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
        )

    taken = setting.seconds(write, times=2)
    yield Finding(
        "captions, InternVL3-2B's shape, random weights",
        asked / taken,
        "captions/s",
        note=f"batch {asked}, {new} tokens each; {N:,} pictures would take {N / (asked / taken) / 60:.0f} min",
    )


RATES: list[Check] = [training, embedding, clustering, evaluation, captions]


def experiment(setting: Setting, found: list[Finding]) -> Iterator[Finding]:
    """The default config's jobs one after the other, from the rates above; captions are left out."""

    def value(start: str) -> float:
        for one in found:
            if one.what.startswith(start) and one.value:
                return one.value
        raise ValueError(f"there is no rate of '{start}'")

    reading = value(f"embedding with {STUDENT}")
    speeds = {}
    for name in encoders_in_use(CONFIG):
        if name == "vit-h":
            speeds[name] = value(f"embedding with {TEACHER}")
        elif name in ARCHITECTURES:
            encoder = setting.encoder(ARCHITECTURES[name])
            speeds[name] = min(reading, bare_forward(setting, encoder, 4 if setting.small else 64))
        else:
            speeds[name] = reading  # hand-made features: reading is what takes the time
    n_models = sum(len(all_models(CONFIG, split)) for split in CONFIG["splits"])
    n_labels = sum(len(labels_on(CONFIG, split)) for split in CONFIG["splits"])
    n_trainings = len(trainings(CONFIG))
    parts = {
        "embedding": sum(N / speed for speed in speeds.values()) + n_trainings * N / reading,
        "k-means": n_labels * CONFIG["cluster"]["restarts"] * value("k-means, n"),
        "training": n_trainings * CONFIG["train"]["epochs"] * FITTED * N / value("training "),
        # Beside each other on the CPU, while no GPU is needed.
        "evaluation": n_models * value("the same evaluation") / max(1, setting.cores // CONFIG["eval"]["threads"]),
        "map": MAP_SECONDS * CONFIG["report"]["map_points"] / 10_000,
        "starts of jobs": 10.0 * (3 * n_trainings + n_models + n_labels),
    }
    total = sum(parts.values())
    in_words = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in parts.items())
    yield Finding(
        "the default experiment beside the captions, computed from the rates above",
        total / 60,
        "min",
        60,
        3600 / total,
        "≤ 60 min",
        total <= 3600 if setting.judged else None,
        f"minutes: {in_words}",
    )
