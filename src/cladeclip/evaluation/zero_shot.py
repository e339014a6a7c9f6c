"""Zero-shot classification: queries against the text embeddings of the names (Radford et al., ICML 2021)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cladeclip.encoders.embed import embed_texts
from cladeclip.encoders.encoder import Encoder
from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.protocol import Subset
from cladeclip.ranks import HIGHER_RANKS

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


def phrases_of(images: pd.DataFrame, names: np.ndarray) -> dict[str, tuple[str, ...]]:
    """For every name, sorted, what goes into the templates: the name, and its whole lineage where the ranks are known.

    BioCLIP's text types "scientific" and "taxonomic" (Stevens et al., CVPR 2024): from the kingdom down, in one string.

    Args:
        images: the `images` table; its columns of HIGHER_RANKS, as far as it has them.
        names: (n,) the name of every image at some rank.
    """
    ranks = [rank for rank in reversed(HIGHER_RANKS) if rank in images]
    lineages = images[ranks].fillna("").agg(" ".join, axis=1).str.split().str.join(" ") if ranks else ""
    known = pd.DataFrame({"name": names, "lineage": lineages}).drop_duplicates().groupby("name")["lineage"]
    # A name with two lineages is a homonym or an error: neither lineage is taken.
    return {
        name: (name, f"{found.iloc[0]} {name}") if len(found) == 1 and found.iloc[0] else (name,)
        for name, found in known
    }


def name_embeddings(
    encoder: Encoder,
    phrases: Sequence[Sequence[str]],
    *,
    batch_size: int,
    precision: str = "auto",
    device: str = "auto",
) -> np.ndarray:
    """One unit vector (n, d) a name: the mean of its prompts' unit vectors, scaled to unit length.

    Args:
        phrases: for each of n names, what goes into every template.

    Raises:
        ConfigError: the encoder has no text tower.
    """
    prompts = [template.format(phrase) for of_name in phrases for phrase in of_name for template in TEMPLATES]
    found = normalise(embed_texts(encoder, prompts, batch_size=batch_size, precision=precision, device=device))
    counts = np.array([len(of_name) * len(TEMPLATES) for of_name in phrases])
    return normalise(np.add.reduceat(found, counts.cumsum() - counts, axis=0) / counts[:, None])


def zero_shot_accuracy(subset: Subset, embeddings: np.ndarray, names: Sequence[str], texts: np.ndarray) -> dict:
    """Top-1, top-5 and macro accuracy of the subset's queries, by cosine to all names.

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
    encoder: Encoder,
    embeddings: np.ndarray,
    images: pd.DataFrame,
    subsets: Sequence[Subset],
    *,
    batch_size: int,
    precision: str = "auto",
) -> pd.DataFrame:
    """The `zero_shot` table: at each rank the candidates are the names of all pictures of the data set.

    Args:
        embeddings: (n, d) of all images.
        images: the `images` table.
    """
    rows, known = [], {}
    for subset in subsets:
        if subset.column not in known:
            phrases = phrases_of(images, subset.names)
            texts = name_embeddings(encoder, list(phrases.values()), batch_size=batch_size, precision=precision)
            known[subset.column] = list(phrases), texts
        rows.append(zero_shot_accuracy(subset, embeddings, *known[subset.column]))
    return pd.DataFrame(rows)
