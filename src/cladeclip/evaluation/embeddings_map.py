"""Two-dimensional maps of embeddings by PCA and t-SNE, for people to look at; nothing is measured on them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from cladeclip.encoders.fusion import normalise
from cladeclip.io.embeddings import rows_for
from cladeclip.random_streams import stream_of

# t-SNE on this many components is as good as on all, and many times faster (van der Maaten and Hinton 2008).
COMPONENTS = 50
PERPLEXITY = 30
# Of the draw, where there are more images than points, and of t-SNE.
SEED = 0
PLACES = ["pca_1", "pca_2", "tsne_1", "tsne_2"]


def maps_of(embeddings: Mapping[str, str], image_ids: Sequence[str], *, points: int, threads: int) -> pd.DataFrame:
    """The `embeddings_map` table of `points` of the images, by each model.

    Args:
        embeddings: by model, the path of its embeddings table.
    """
    drawn = stream_of(SEED, "map").permutation(len(image_ids))[:points]
    ids = [image_ids[i] for i in np.sort(drawn)]
    maps = [
        on_the_plane(rows_for(path, ids), seed=SEED, threads=threads).assign(model=model, image_id=ids)
        for model, path in embeddings.items()
    ]
    return pd.concat(maps)


def on_the_plane(embeddings: np.ndarray, *, seed: int, threads: int) -> pd.DataFrame:
    """The coordinates of embeddings (n, d) after normalisation to length 1.

    Returns:
        pca_1, pca_2, tsne_1, tsne_2, float32, in the order of the rows. With fewer than 4 rows t-SNE is replaced by PCA;
        missing components are 0.
    """
    units = normalise(embeddings.astype(np.float64))
    if (units == units[0]).all():
        return pd.DataFrame(np.zeros((len(units), 4), dtype=np.float32), columns=PLACES)
    n_components = min(COMPONENTS, *units.shape)
    # The full decomposition, whose signs scikit-learn settles: the randomised one differs between machines.
    components = PCA(n_components, svd_solver="covariance_eigh").fit_transform(units)
    plane = np.zeros((len(units), 2))
    plane[:, : min(2, n_components)] = components[:, :2]
    spread = plane.std(axis=0).max()
    if len(units) < 4:
        tsne = plane
    else:
        perplexity = min(PERPLEXITY, (len(units) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init=plane / spread * 1e-4, random_state=seed, n_jobs=threads).fit_transform(
            components
        )
    return pd.DataFrame(np.hstack([plane, tsne]).astype(np.float32), columns=PLACES)
