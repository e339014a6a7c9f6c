"""Zero-shot naming: queries against the names themselves, as a text tower reads them (Radford et al., ICML 2021)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cladeclip.encoders.embed import embed_texts
from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.subsets import Subset

# The seven of open_clip's SIMPLE_IMAGENET_TEMPLATES, and the plain sentence of BioCLIP's protocol before them.
TEMPLATES = (
    "a photo of {}.",
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
TOP = 5


def name_embeddings(
    encoder: Encoder, names: Sequence[str], *, batch_size: int, precision: str = "auto", device: str = "auto"
) -> np.ndarray:
    """One unit vector (n, d) a name: the mean of its prompts' unit vectors, scaled to unit length.

    Raises:
        ConfigError: the encoder has no text tower.
    """
    prompts = [template.format(name) for name in names for template in TEMPLATES]
    found = normalise(embed_texts(encoder, prompts, batch_size=batch_size, precision=precision, device=device))
    return normalise(found.reshape(len(names), len(TEMPLATES), -1).mean(axis=1))


def zero_shot_accuracy(subset: Subset, embeddings: np.ndarray, names: Sequence[str], texts: np.ndarray) -> dict:
    """Shares of the subset's queries whose name is the nearest of all names, or among the five nearest, by cosine.

    Args:
        embeddings: (n, d) of all images.
        names: (c,) candidates, sorted: equal similarities go to the name that sorts first.
        texts: (c, d) unit vectors of the names.
    """
    similarity = normalise(embeddings[subset.query]) @ texts.T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :TOP]
    right = np.asarray(names)[nearest] == subset.names[subset.query][:, None]
    return {
        "taxa": subset.taxa,
        "column": subset.column,
        "top1": float(right[:, 0].mean()),
        "top5": float(right.any(axis=1).mean()),
        "macro": float(pd.Series(right[:, 0]).groupby(subset.names[subset.query]).mean().mean()),
        "n_query": len(subset.query),
        "n_labels": len(names),
    }


def zero_shot_table(
    encoder: Encoder, embeddings: np.ndarray, subsets: Sequence[Subset], *, batch_size: int, precision: str = "auto"
) -> pd.DataFrame:
    """The `zero_shot` table: at each rank the candidates are the names of all pictures of the data set."""
    rows, known = [], {}
    for subset in subsets:
        if subset.column not in known:
            names = sorted(set(subset.names))
            known[subset.column] = names, name_embeddings(encoder, names, batch_size=batch_size, precision=precision)
        rows.append(zero_shot_accuracy(subset, embeddings, *known[subset.column]))
    return pd.DataFrame(rows)
