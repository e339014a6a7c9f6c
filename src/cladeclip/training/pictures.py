"""The pictures that training sees: read from the store, augmented, in an order that only the seed decides."""

import atexit
import hashlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.random import mtrand
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.encoder import Encoder
from cladeclip.torch_streams import torch_stream
from cladeclip.training.processes import SINGLE, Processes
from cladeclip.training.rand_augment import WIDTH, DrawnOperations, carried_out
from cladeclip.training.stopping import end_workers, leave_signals_to_the_parent

Key = tuple[int, int]


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's (CPU) random numbers from `key`, and restores them afterwards."""
    # numpy's generator is exchanged: taking and setting its state would be two thirds of the time of all this.
    before = random.getstate(), mtrand.get_bit_generator(), torch.default_generator.get_state()
    digest = hashlib.sha256(repr(key).encode()).digest()
    random.seed(digest)
    mtrand.set_bit_generator(np.random.PCG64(int.from_bytes(digest[12:20], "little")))
    torch.default_generator.manual_seed(int.from_bytes(digest[4:12], "little") >> 1)
    try:
        yield
    finally:
        random.setstate(before[0])
        mtrand.set_bit_generator(before[1])
        torch.default_generator.set_state(before[2])


class Read(NamedTuple):
    """A picture (or a batch) as a loader worker returns it, with the operations left to the training device.

    Attributes:
        pixels: (3, image_px, image_px) uint8, a quarter of the bytes of float32; with augment `none` what the encoder's own
            transform gives.
        operations: (layers, WIDTH) float32, what RandAugment does (see `rand_augment`).
        erasure: (5,) int64, what `drawn_erasure` gives.
    """

    pixels: Tensor
    operations: Tensor
    erasure: Tensor


class TrainingPictures(Dataset[Read]):
    """Items by key (epoch, position): the augmentation depends on the key alone; `BatchFinish` finishes it."""

    def __init__(
        self,
        store: PictureStore,
        image_ids: Sequence[str],
        encoder: Encoder,
        augment: str,
        seed: int,
    ) -> None:
        self.store, self.image_ids, self.seed = store, list(image_ids), seed
        self.augmentation = Augmentation(encoder, augment)

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, key: Key) -> Read:
        epoch, position = key
        stored = decoded(self.store.encoded(self.image_ids[position]))
        with seeded(self.seed, epoch, position):
            return self.augmentation(stored)


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
        own = slice(self.processes.rank * self.batch_size, (self.processes.rank + 1) * self.batch_size)
        for epoch, positions in self.everyones():
            yield [(epoch, int(position)) for position in positions[own]]

    def everyones(self) -> Iterator[tuple[int, np.ndarray]]:
        """Epoch and positions (batch_size * processes,) of the batches of all processes together, in their order."""
        for epoch in range(self.start // max(self.per_epoch, 1), self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.n)
            first = self.start - epoch * self.per_epoch if epoch * self.per_epoch < self.start else 0
            for batch in range(first, self.per_epoch):
                yield epoch, order[batch * self.together : (batch + 1) * self.together]


def training_loader(pictures: TrainingPictures, batches: EpochBatches, *, workers: int, pin: bool) -> DataLoader:
    """One loader for the whole training: its workers start once. The batches do not depend on their number."""
    atexit.unregister(end_workers)
    atexit.register(end_workers)  # the last that is registered is the first to run: before multiprocessing's own
    return DataLoader(
        pictures, batch_sampler=batches, num_workers=workers, pin_memory=pin, worker_init_fn=leave_signals_to_the_parent
    )


class Augmentation:
    """From a stored picture (3, h, w) uint8 to what the training device is given.

    `timm`: the published augmentation (random crop, flip, RandAugment, erasing), drawn by timm; `crop_flip`: the first two
    alone; `none`: the encoder's own transform. All randomness is from Python's, numpy's and torch's global generators.
    """

    def __init__(self, encoder: Encoder, augment: str) -> None:
        self.operations: Callable[[], Tensor] = lambda: torch.zeros(0, WIDTH)
        self.erased = ERASED if augment == "timm" else 0.0
        if augment == "none":
            self.transform: Any = lambda picture: encoder.transform(as_image(picture))
            return
        from timm.data import create_transform

        law: dict[str, Any] = {"auto_augment": "rand-m9-mstd0.5-inc1"} if augment == "timm" else {"scale": (0.5, 1.0)}
        self.transform = create_transform(
            encoder.image_px,
            is_training=True,
            interpolation=encoder.interpolation,
            mean=encoder.mean,
            normalize=False,
            **law | {"color_jitter": None},
        )
        steps = self.transform.transforms
        for number, step in enumerate(steps):
            if hasattr(step, "ops"):
                self.operations = DrawnOperations(steps.pop(number), encoder.image_px)
                break
        # The first is the crop. As a tensor it takes a third of Pillow's time, if torch has its interpolation.
        if encoder.interpolation in ("bilinear", "bicubic"):
            steps[0] = partial(crop, steps[0])
        else:
            steps.insert(0, as_image)

    def __call__(self, picture: Tensor) -> Read:
        pixels = self.transform(picture)
        return Read(pixels, self.operations(), drawn_erasure(self.erased, *pixels.shape[1:]))


def crop(law: Any, picture: Tensor) -> Tensor:
    """What timm's RandomResizedCropAndInterpolation `law` crops and resizes, of a tensor."""
    from torchvision.transforms.v2 import functional

    box = law.get_params(picture, law.scale, law.ratio)
    return functional.resized_crop(picture, *box, size=list(law.size), interpolation=law.interpolation, antialias=True)


def decoded(picture: pa.Buffer) -> Tensor:
    """A JPEG as (3, h, w) uint8: by torchvision, which gives the same as Pillow in three quarters of the time."""
    from torchvision.io import ImageReadMode, decode_jpeg

    # Of a copy, since torch warns of memory that it may not write to.
    return decode_jpeg(torch.frombuffer(bytearray(picture), dtype=torch.uint8), ImageReadMode.RGB)


def as_image(picture: Tensor) -> Image.Image:
    """A picture (3, h, w) uint8 as Pillow's."""
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


# Random erasing (Zhong et al., AAAI 2020) as timm does it in mode `pixel`: the share of pictures, the share of a picture's
# area, the aspect ratio, and how often a rectangle is drawn until one fits.
ERASED, AREAS, ASPECTS, ATTEMPTS = 0.25, (0.02, 1 / 3), (0.3, 1 / 0.3), 10
# Places in the noise at which an erased picture's may begin.
NOISES = 2**20


def drawn_erasure(probability: float, height: int, width: int) -> Tensor:
    """(top, left, height, width, place in the noise) int64, drawn from Python's random numbers; zeros erase nothing."""
    if random.random() < probability:
        for _ in range(ATTEMPTS):
            area = random.uniform(*AREAS) * height * width
            aspect = math.exp(random.uniform(*map(math.log, ASPECTS)))
            tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if tall < height and wide < width:
                top, left = random.randint(0, height - tall), random.randint(0, width - wide)
                return torch.tensor([top, left, tall, wide, random.randrange(NOISES)])
    return torch.zeros(5, dtype=torch.int64)


class BatchFinish:
    """The steps on whole batches on the training device: RandAugment, normalisation, and erasing with noise.

    The operations were drawn where the pictures were read, and all noise comes from one draw on the CPU: both are the same
    on every device, and no device is waited for.
    """

    def __init__(self, encoder: Encoder, augment: str, seed: int, device: torch.device) -> None:
        self.device = device
        self.mean, self.std = (
            255.0 * torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (encoder.mean, encoder.std)
        )
        # As timm fills.
        self.fill = torch.tensor(
            [min(255, round(255 * value)) for value in encoder.mean], dtype=torch.uint8, device=device
        )
        self.noise = torch.empty(0)
        if augment == "timm":
            size = NOISES + 3 * encoder.image_px**2
            self.noise = torch.randn(size, generator=torch_stream(seed, "erasing")).to(device)

    def __call__(self, read: Read) -> Tensor:
        """The batch (b, 3, h, w) float32 on the device, of pictures that were read on the CPU."""
        batch = read.pixels.to(self.device, non_blocking=True)
        if read.pixels.dtype == torch.uint8:
            if read.operations.shape[1]:
                batch = carried_out(batch.clone() if batch is read.pixels else batch, read.operations, self.fill)
            batch = batch.float().sub_(self.mean).div_(self.std)
        return self.erase(batch, read.erasure)

    def erase(self, batch: Tensor, erasures: Tensor) -> Tensor:
        rows = torch.nonzero(erasures[:, 2]).squeeze(1)
        if len(rows) == 0:
            return batch
        of_picture = batch.shape[1:]
        height, width = of_picture[1:]
        top, left, tall, wide, place = erasures[rows].to(self.device, non_blocking=True).T[:, :, None, None, None]
        y = torch.arange(height, device=self.device)[:, None]
        x = torch.arange(width, device=self.device)
        erased = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
        # A view of as many rows as there are places; a row is copied for each picture.
        noise = self.noise.unfold(0, of_picture.numel(), 1).index_select(0, place.flatten()).view(-1, *of_picture)
        rows = rows.to(self.device, non_blocking=True)
        return batch.index_copy_(0, rows, torch.where(erased, noise, batch.index_select(0, rows)))
