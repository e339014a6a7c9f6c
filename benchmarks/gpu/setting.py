"""What the checks of a GPU share: where they run, at which size, on what; and what one of them says."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import yaml

from benchmarks.synthetic import a_collection
from cladeclip.config.sections import Train
from cladeclip.datasets.store import PictureStore, build_store
from cladeclip.demo.specimens import draw_specimens
from cladeclip.encoders.encoder import Encoder
from cladeclip.errors import first_line
from cladeclip.run.cores import cores

CONFIG = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
# A network as small as the tests', in the place of all others where the sizes are small.
TINY = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
STUDENT, TEACHER = "ViT-B-32-quickgelu", "ViT-H-14-378-quickgelu"
TINY_NAME = "tiny"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        what: in words.
        value: a number in `unit`.
        limit: the number that it is held against, if any: what the machine could do at the best, or what the CPU gives.
        share: value / limit, or limit / value where less is better.
        wanted: what should hold, in words.
        holds: whether it does; None where this machine or this size does not judge it.
        note: what else is to be known.
        seconds: how long finding it took.
    """

    what: str
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    share: float | None = None
    wanted: str = ""
    holds: bool | None = None
    note: str = ""
    seconds: float = 0.0

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


Check = Callable[["Setting"], Iterator[Finding]]


@dataclass(frozen=True)
class Setting:
    """A device, a size, and a folder for what is made."""

    device: torch.device
    small: bool
    folder: Path

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def judged(self) -> bool:
        """Whether rates mean something: on a GPU, at full size."""
        return self.on_gpu and not self.small

    @cached_property
    def cores(self) -> int:
        return cores()

    @cached_property
    def pictures(self) -> list[str]:
        """Of drawn specimens below `folder`/drawn."""
        root = self.folder / "drawn"
        px, each = (96, 2) if self.small else (480, 12)
        draw_specimens(root, species_per_genus=1, images_per_species=each, image_px=px, seed=5, workers=self.cores)
        return sorted(path.relative_to(root).as_posix() for path in root.glob("*/images/*"))

    @property
    def root(self) -> Path:
        return self.folder / "drawn"

    @cached_property
    def store(self) -> PictureStore:
        path = self.folder / "store.arrow"
        side = 72 if self.small else CONFIG["train"]["store_px"]
        build_store(self.root, self.pictures, path, side=side, workers=self.cores)
        return PictureStore(path)

    def encoder(self, architecture: str, *, vision_alone: bool = True, device: torch.device | None = None) -> Encoder:
        """With random weights, made where it will be used; the tiny one in its place at small sizes."""
        if self.small:
            open_clip.factory._MODEL_CONFIGS[TINY_NAME] = TINY
            architecture = TINY_NAME
        torch.manual_seed(5)
        where = device or self.device
        with where:
            model, _, transform = open_clip.create_model_and_transforms(architecture, device=where)
        visual: Any = model.visual
        seen = visual.preprocess_cfg
        size = seen["size"] if isinstance(seen["size"], int) else seen["size"][0]
        tokenizer = open_clip.get_tokenizer(architecture)

        @torch.inference_mode()
        def encode_text(captions: Any) -> torch.Tensor:
            return model.encode_text(tokenizer(list(captions)).to(next(model.parameters()).device)).float()

        return Encoder(
            family="open_clip",
            dim=visual.output_dim,
            image_px=size,
            mean=tuple(seen["mean"]),
            std=tuple(seen["std"]),
            interpolation=seen["interpolation"],
            transform=transform,
            tower=visual,
            model=visual if vision_alone else model,
            encode_text=None if vision_alone else encode_text,
        )

    def settings(self, **changes: Any) -> Train:
        """The published ones."""
        return replace(Train(), **changes)

    def collection(self, d: int) -> tuple[Any, np.ndarray, Any]:
        """Tables and embeddings of as many pictures as VLM4Bio has."""
        return a_collection(1_500 if self.small else 31_452, 64 if self.small else d)

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def seconds(self, do: Callable[[], Any], *, times: int = 1) -> float:
        """Of one call; with `times`, the mean after one call that does not count."""
        if times > 1:
            do()
        self.wait()
        start = time.perf_counter()
        for _ in range(times):
            do()
        self.wait()
        return (time.perf_counter() - start) / times


def findings(check: Check, setting: Setting) -> Iterator[Finding]:
    """What a check finds; an error is a finding, too, so that the others still run."""
    start = time.monotonic()
    try:
        for found in check(setting):
            yield replace(found, seconds=round(time.monotonic() - start, 1))
            start = time.monotonic()
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        what = check.__name__.replace("_", " ")
        yield Finding(what, holds=False, wanted="runs", note=said, seconds=round(time.monotonic() - start, 1))
    if setting.on_gpu:
        torch.cuda.empty_cache()
