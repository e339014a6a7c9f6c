"""Reading training pictures with the published augmentation: pictures a second and core, beside other loaders."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from timm.data import ImageDataset, create_loader, create_transform
from torch.utils.data import DataLoader, Dataset

from benchmarks.embedding import encoder_folder, pictures_below
from benchmarks.measure import Row, measure, row
from cladeclip.datasets.store import PictureStore, build_store
from cladeclip.demo.specimens import draw_specimens
from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.load import load_encoder
from cladeclip.training.pictures import BatchFinish, EpochBatches, TrainingPictures, training_loader

CORES = os.cpu_count() or 1
SIDE, PX, BATCH = 288, 224, 64
# FFCV's documentation, "ImageNet Benchmarks": JPEGs of 512 px (quality 90) from memory, random crop to 224 px and flip, no
# RandAugment and no erasing; 31,278 pictures a second by an AWS p3dn.24xlarge, which has 96 virtual CPUs.
FFCV_RATE = 31_278 / 96
LAW: dict[str, Any] = {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.0, "re_prob": 0.25, "re_mode": "pixel"}


def our_loader(encoder: Encoder, folder: str, pictures: list[str], epochs: int) -> None:
    """What the workers do: the GPU does the rest."""
    for _ in _read(encoder, folder, pictures, epochs):
        pass


def all_on_the_cpu(encoder: Encoder, folder: str, pictures: list[str], epochs: int) -> None:
    """With RandAugment, normalisation and erasing, which without a GPU the CPU does as well."""
    torch.set_num_threads(1)
    finish = BatchFinish(encoder, "timm", 0, torch.device("cpu"))
    for read in _read(encoder, folder, pictures, epochs):
        finish(read)


def _read(encoder: Encoder, folder: str, pictures: list[str], epochs: int) -> DataLoader:
    data = TrainingPictures(PictureStore(Path(folder, "store.arrow")), pictures, encoder, "timm", seed=0)
    return training_loader(data, EpochBatches(len(pictures), BATCH, epochs, seed=0), workers=CORES, pin=False)


def posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """timm's, which asks for no bits at its strongest: an error in newer versions of Pillow."""
    return image if bits >= 8 else ImageOps.posterize(image, max(bits, 1))


def mended(transform: Any) -> Any:
    for step in transform.transforms:
        for operation in getattr(step, "ops", ()):
            if "Posterize" in operation.name:
                operation.aug_fn = posterize
    return transform


def timms_loader(encoder: Encoder, folder: str, pictures: list[str], epochs: int) -> None:
    """timm's own, with its prefetcher, on the JPEGs of the store as files."""
    data = ImageDataset(str(Path(folder, "jpegs")))
    loader = create_loader(
        data,
        encoder.image_px,
        BATCH,
        is_training=True,
        interpolation=encoder.interpolation,
        mean=encoder.mean,
        std=encoder.std,
        num_workers=CORES,
        device=torch.device("cpu"),
        use_multi_epochs_loader=True,
        **LAW,
    )
    mended(data.transform)
    for _ in range(epochs):
        for _ in loader:
            pass


class OriginalFiles(Dataset):
    """The usual way: the original file, then timm's training transform as one pipeline."""

    def __init__(self, encoder: Encoder, root: str, pictures: list[str]) -> None:
        self.paths = [Path(root, picture) for picture in pictures]
        looks = {"interpolation": encoder.interpolation, "mean": encoder.mean, "std": encoder.std}
        self.transform = mended(create_transform(encoder.image_px, is_training=True, **looks, **LAW))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return self.transform(Image.open(self.paths[index]).convert("RGB")), 0


def original_files(encoder: Encoder, root: str, pictures: list[str], epochs: int) -> None:
    data = OriginalFiles(encoder, root, pictures)
    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=CORES, persistent_workers=True)
    for _ in range(epochs):
        for _ in loader:
            pass


def with_encoder(encoder: str, *arguments: Any) -> tuple:
    """The demo's encoder, but as large as the published students see."""
    return replace(load_encoder(encoder), image_px=PX, interpolation="bicubic"), *arguments


for way in (our_loader, all_on_the_cpu, timms_loader, original_files):
    way.prepare = with_encoder  # type: ignore[attr-defined]


def rows(small: bool, data: Path | None) -> Iterator[Row]:
    """The rows of stage `load`."""
    with tempfile.TemporaryDirectory() as folder:
        demo = encoder_folder("config/demo.yaml", "specimen-vit", folder)
        if data is None:
            root = f"{folder}/drawn"
            draw_specimens(root, species_per_genus=2, images_per_species=8, image_px=320, seed=5)
            yield from _beside_others("drawn, 320 px", root, pictures_below(root, "*/images"), demo, small)
            return
        fish = pictures_below(str(data), "Fish/images")
        others = [picture for kind in ("Bird", "Butterfly") for picture in pictures_below(str(data), f"{kind}/images")]
        for case, pictures in (("fish", fish), ("pictures up to 500 px", others)):
            yield from _beside_others(case, str(data), pictures, demo, small)


def _beside_others(case: str, root: str, pictures: list[str], demo: str, small: bool) -> Iterator[Row]:
    pictures, epochs = pictures[: BATCH if small else None], 1 if small else 12
    n = len(pictures) // BATCH * BATCH * epochs
    with tempfile.TemporaryDirectory() as folder:
        build_store(root, pictures, Path(folder, "store.arrow"), side=SIDE, workers=CORES)
        store = PictureStore(Path(folder, "store.arrow"))
        for number, picture in enumerate(pictures):
            path = Path(folder, "jpegs", "all", f"{number:05d}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.encoded(picture))
        ours_s, ours_mb, _ = measure(our_loader, demo, folder, pictures, epochs)
        peers = {
            "the same and, on the CPU, what a GPU does": measure(all_on_the_cpu, demo, folder, pictures, epochs)[:2],
            "timm's loader on the store's JPEGs": measure(timms_loader, demo, folder, pictures, epochs)[:2],
            "original files": measure(original_files, demo, root, pictures, epochs)[:2],
            "FFCV, as published, without RandAugment": (n / (CORES * FFCV_RATE), float("nan")),
        }
    for peer, (peer_s, peer_mb) in peers.items():
        note = f"pictures a second and core: {n / (CORES * ours_s):.0f}, peer {n / (CORES * peer_s):.0f}"
        yield row("load", f"training pictures, {PX} px, {case}", n, ours_s, ours_mb, peer, peer_s, peer_mb, note)
