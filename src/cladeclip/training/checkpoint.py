"""The product: a trained encoder as a folder that its own library loads."""

import shutil
import tempfile
from pathlib import Path

import pandas as pd

from cladeclip.atomic import atomic_path
from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.vision_tower import save_model
from cladeclip.encoders.weights import WEIGHTS, save_weights


def save_checkpoint(encoder: Encoder, source: str | Path, folder: str | Path, history: pd.DataFrame) -> None:
    """Writes the trained model, what its library needs beside the weights, and training.csv.

    Args:
        source: the encoder folder that training started from; its config and tokenizer files are copied.
        history: the table that `train` returned.
    """
    source, folder = Path(source), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name not in (WEIGHTS, "encoder.json") and not file.name.startswith("."):
            with atomic_path(folder / file.name) as temporary:
                shutil.copyfile(file, temporary)
    with atomic_path(folder / "training.csv") as temporary:
        history.to_csv(temporary, index=False)
    # Last, since it is the file that others ask for.
    if encoder.family == "transformers":
        # The library itself knows which of its tensors share their memory, and under what names they are kept.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving") as temporary_folder:
            save_model(encoder.model, Path(temporary_folder))
            Path(temporary_folder, WEIGHTS).replace(folder / WEIGHTS)
    else:
        save_weights(encoder.model, folder / WEIGHTS)
