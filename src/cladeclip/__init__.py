"""CladeCLIP: cluster a teacher's embeddings, train a small CLIP encoder on the cluster ids, and see what it learned.

For notebooks: `load_embeddings`, `load_comparison` and `load_encoder` read what a run left in its results folder. They
import what they need when they are called.
"""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from cladeclip.encoders.encoder import Encoder

__all__ = ["__version__", "load_comparison", "load_embeddings", "load_encoder"]

try:
    __version__ = version("cladeclip")
except PackageNotFoundError:  # a source tree that was never installed, as with --sdm conda
    __version__ = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]


def load_embeddings(path: str | Path) -> "pd.DataFrame":
    """The embeddings of a file such as results/demo/embeddings/drawn-clip/image.parquet.

    Returns:
        one float32 row per image, indexed and sorted by `image_id`.

    Raises:
        TableError: the file is not an embeddings table.
    """
    import pandas as pd

    from cladeclip.io.embeddings import read_embeddings

    ids, embeddings = read_embeddings(path)
    return pd.DataFrame(embeddings, index=pd.Index(ids, name="image_id"))


def load_comparison(path: str | Path) -> "pd.DataFrame":
    """All models side by side, from a results folder (results/demo) or its comparison.parquet; measures as fractions.

    Raises:
        TableError: the file is not a comparison, or the run is not finished.
    """
    from cladeclip.io.parquet import read_table
    from cladeclip.tables import COMPARISON

    path = Path(path)
    return read_table(path / "comparison.parquet" if path.is_dir() else path, COMPARISON)


def load_encoder(path: str | Path) -> "Encoder":
    """A trained checkpoint, or any folder below weights/, as an encoder on the CPU.

    `encoder.transform(picture)` makes a PIL picture a tensor, `encoder.encode_images(batch)` embeds a batch of them.

    Raises:
        CladeclipError: the folder holds no known encoder, or its weights are damaged.
    """
    from cladeclip.encoders.load import load_encoder as load

    return load(path)
