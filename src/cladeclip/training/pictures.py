"""The pictures that training sees: read from the store, augmented, in an order that only the seed decides."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.encoder import Encoder
from cladeclip.training.processes import SINGLE, Processes
from cladeclip.training.stopping import leave_signals_to_the_parent

Key = tuple[int, int]


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's (CPU) random numbers from `key`, and restores them afterwards."""
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    digest = hashlib.sha256(repr(key).encode()).digest()
    random.seed(digest)
    np.random.seed(int.from_bytes(digest[:4], "little"))
    torch.default_generator.manual_seed(int.from_bytes(digest[4:12], "little") >> 1)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.default_generator.set_state(before[2])


class TrainingPictures(Dataset[tuple[Tensor, int]]):
    """Items (augmented picture, label) by key (epoch, position): the augmentation depends on the key alone.

    A picture is (3, image_px, image_px) uint8, a quarter of the bytes of float32 on its way from a worker; `BatchFinish`
    does the rest with a whole batch at once. With augment `none` it is what the encoder's own transform gives.
    """

    def __init__(
        self,
        store: PictureStore,
        image_ids: Sequence[str],
        labels: np.ndarray,
        encoder: Encoder,
        augment: str,
        seed: int,
    ) -> None:
        self.store, self.image_ids, self.labels, self.seed = store, list(image_ids), labels, seed
        self.transform = train_transform(encoder, augment)

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, position = key
        image: Image.Image = self.store.read(self.image_ids[position])
        with seeded(self.seed, epoch, position):
            return self.transform(image), int(self.labels[position])


class EpochBatches(Sampler[list[Key]]):
    """Batches of keys over all epochs; every epoch is shuffled anew, and what does not fill an optimiser step is dropped.

    With several processes each gets its own consecutive part of every batch, so that all of them together see what one
    process with a batch that large would.

    Args:
        batch_size: of one process.
        gradient_acc: batches of one optimiser step.
        start: batches to leave out at the beginning, for a training that goes on.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        epochs: int,
        seed: int,
        *,
        gradient_acc: int = 1,
        start: int = 0,
        processes: Processes = SINGLE,
    ) -> None:
        self.n, self.batch_size, self.epochs, self.seed = n, batch_size, epochs, seed
        self.start, self.processes = start, processes
        self.together = batch_size * processes.count
        self.per_epoch = n // self.together // gradient_acc * gradient_acc

    def __len__(self) -> int:
        return self.epochs * self.per_epoch - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        own = self.processes.rank * self.batch_size
        for epoch in range(self.start // max(self.per_epoch, 1), self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.n)
            first = self.start - epoch * self.per_epoch if epoch * self.per_epoch < self.start else 0
            for batch in range(first, self.per_epoch):
                begin = batch * self.together + own
                yield [(epoch, int(position)) for position in order[begin : begin + self.batch_size]]


def training_loader(pictures: TrainingPictures, batches: EpochBatches, *, workers: int, pin: bool) -> DataLoader:
    """One loader for the whole training: its workers start once. The batches do not depend on their number."""
    return DataLoader(
        pictures, batch_sampler=batches, num_workers=workers, pin_memory=pin, worker_init_fn=leave_signals_to_the_parent
    )


def train_transform(encoder: Encoder, augment: str) -> Callable[[Image.Image], Tensor]:
    """`timm`: the published augmentation; `crop_flip`: random resized crop and flip; `none`: the eval transform."""
    if augment == "none":
        return encoder.transform
    from timm.data import create_transform

    extra = (
        {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4}
        if augment == "timm"
        else {"scale": (0.5, 1.0), "color_jitter": None}
    )
    transform = create_transform(
        encoder.image_px,
        is_training=True,
        interpolation=encoder.interpolation,
        mean=encoder.mean,
        normalize=False,
        **extra,
    )
    spare_posterize(transform)
    return transform


def spare_posterize(transform: Any) -> None:
    """Lets a timm pipeline keep one bit a channel where its RandAugment asks for none.

    It does so at its strongest. No bits are a black picture, and an error in newer versions of Pillow.
    """
    for step in transform.transforms:
        for operation in getattr(step, "ops", ()):
            if "Posterize" in operation.name:
                operation.aug_fn = _posterize


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    return image if bits >= 8 else ImageOps.posterize(image, max(bits, 1))


class BatchFinish:
    """What is done with a whole batch on the training device: normalisation and, with augment `timm`, random erasing."""

    def __init__(self, encoder: Encoder, augment: str, seed: int, device: torch.device) -> None:
        from timm.data.random_erasing import RandomErasing

        self.seed, self.device = seed, device
        self.mean, self.std = (
            255.0 * torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (encoder.mean, encoder.std)
        )
        # Drawn on the CPU, so that the same pictures are erased on every device.
        self.erase = RandomErasing(0.25 if augment == "timm" else 0.0, mode="pixel", device="cpu")

    def __call__(self, pictures: Tensor, first: int) -> Tensor:
        """The batch (b, 3, h, w) float32 on the device.

        Args:
            first: the number of its first picture among all that the training sees; it decides what is erased, so that
                the same pictures are erased however they are spread over batches and processes.
        """
        batch = pictures.to(self.device, non_blocking=True)
        if pictures.dtype == torch.uint8:
            batch = batch.float().sub_(self.mean).div_(self.std)
        if self.erase.probability > 0:
            with seeded(self.seed, first):
                for number in range(len(batch)):
                    random.seed(f"{self.seed} {first + number}")
                    torch.default_generator.manual_seed(random.getrandbits(63))
                    self.erase(batch[number])
        return batch
