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
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name not in (WEIGHTS, RECORD) and not file.name.startswith("."):
            with atomic_path(folder / file.name) as temporary:
                shutil.copyfile(file, temporary)
    with atomic_path(folder / "training.csv") as temporary:
        history.to_csv(temporary, index=False)
    family_of(source).code().save(encoder.model, folder / WEIGHTS)
    # Last, since other jobs depend on this file. It keeps the origin of the student's weights.
    started_as = read_json(source / RECORD)
    write_record(folder, started_as["definition"], started_as["sources"])
