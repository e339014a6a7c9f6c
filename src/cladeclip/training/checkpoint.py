"""The product: a trained encoder as a folder that its own library loads."""

import shutil
from pathlib import Path

import pandas as pd

from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.weights import RECORD, WEIGHTS, family_of, write_record
from cladeclip.io.atomic import atomic_path, read_json


def save_checkpoint(encoder: Encoder, source: str | Path, folder: str | Path, history: pd.DataFrame) -> None:
    """Writes the trained model, what its library needs beside the weights, training.csv, and encoder.json.

    Args:
        source: the encoder folder that training started from; its config and tokenizer files are copied.
        history: the table that `train` returned.
    """
    source, folder = Path(source), Path(folder)
    copy_beside_weights(source, folder)
    with atomic_path(folder / "training.csv") as temporary:
        history.to_csv(temporary, index=False)
    family_of(source).code().save(encoder.model, folder / WEIGHTS)
    record_origin(source, folder)


def copy_beside_weights(source: Path, folder: Path) -> None:
    """Copies what an encoder's library needs beside the weights into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name not in (WEIGHTS, RECORD) and not file.name.startswith("."):
            with atomic_path(folder / file.name) as temporary:
                shutil.copyfile(file, temporary)


def record_origin(source: Path, folder: Path) -> None:
    """Writes encoder.json, last, since other jobs depend on it; it keeps the origin of the weights in `source`."""
    started_as = read_json(source / RECORD)
    write_record(folder, started_as["definition"], started_as["sources"])
