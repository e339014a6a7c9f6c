"""One training as a job: from the files that it needs to the checkpoint, in one process or as one of torchrun's."""

import json
import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cladeclip.config.sections import Train
from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import folder_fingerprint
from cladeclip.io.atomic import sha256_of_file
from cladeclip.training.checkpoint import save_checkpoint
from cladeclip.training.loop import train
from cladeclip.training.objective import targets_of
from cladeclip.training.orphans import end_with_parent
from cladeclip.training.processes import SINGLE, Processes, local_device, process_group
from cladeclip.training.state import TrainingState


@dataclass(frozen=True)
class TrainingJob:
    """What a training needs to know, in a form that travels to other processes as JSON.

    Attributes:
        encoder: folder of the student before training.
        store: the picture store.
        labels: the tables that the student learns from.
        reader: what reads them, as `module:name`; see `specs.READERS`.
        shuffled: the seed by which they are dealt to other images; None leaves each image its own.
        checkpoint: folder that the trained student goes to.
        settings: of Train.
        workers: loader processes of each training process.
        threads: processor cores of the whole job.
        checkpoint_minutes: between two saves of the state, which lies beside the checkpoint until the end.
        events: folder for TensorBoard's event files; empty for none.
        code: fingerprint of the code, so that a state is not taken up by other code.
    """

    encoder: str
    store: str
    labels: list[str]
    reader: str
    checkpoint: str
    settings: dict[str, Any] = field(default_factory=dict)
    shuffled: int | None = None
    seed: int = 5
    workers: int = 0
    threads: int = 1
    checkpoint_minutes: float = 10.0
    events: str = ""
    code: str = ""

    @property
    def state_folder(self) -> Path:
        checkpoint = Path(self.checkpoint)
        return checkpoint.with_name(f".{checkpoint.name}.state")

    def belongs_to(self, processes: Processes) -> dict[str, Any]:
        """What a saved state must agree with, in the words of the config where it has some."""
        return {
            "seed": self.seed,
            "train.gpus": processes.count,
            "seeds.clusters of shuffled labels": self.shuffled,
            "the labels' sha256": [sha256_of_file(table) for table in self.labels],
            "the picture store's sha256": sha256_of_file(self.store),
            "the student's fingerprint": folder_fingerprint(self.encoder),
            "the code's fingerprint": self.code,
            **{f"train.{name}": value for name, value in self.settings.items()},
        }


def run_job(job: TrainingJob, device: torch.device, processes: Processes = SINGLE) -> None:
    """Trains, and in the first process writes the checkpoint; the state is removed after that."""
    # Fixed, since the order in which threads add numbers shows in the last digits of the weights.
    torch.set_num_threads(max(1, job.threads // processes.count))
    encoder = load_encoder(job.encoder)
    state = TrainingState(job.state_folder, job.belongs_to(processes), job.checkpoint_minutes, processes)
    history = train(
        encoder,
        PictureStore(job.store),
        targets_of(job.reader, job.labels, job.shuffled),
        Train(**job.settings),
        seed=job.seed,
        workers=job.workers,
        device=device,
        processes=processes,
        state=state,
        events=Path(job.events) if job.events else None,
    )
    if processes.rank == 0:
        save_checkpoint(encoder, job.encoder, job.checkpoint, history)
        state.remove()


def main(path: str) -> None:
    """One of torchrun's processes. Its standard error is the job's log."""
    end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if os.environ["RANK"] == "0":
        logging.getLogger("cladeclip").setLevel(logging.INFO)
    device = local_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    job = TrainingJob(**json.loads(Path(path).read_text(encoding="utf-8")))
    with process_group(device) as processes:
        run_job(job, device, processes)


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(main)(sys.argv[1])
