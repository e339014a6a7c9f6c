"""Names that look wrong: pictures whose own name is unlikely, given all other names."""

import numpy as np
import pandas as pd
import torch

from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.probe import probe_logits
from cladeclip.evaluation.search import nearest
from cladeclip.random_streams import stream_of
from cladeclip.tables import SUSPECTS

FOLDS = 5
# Of the probe.
C, MAX_ITERATIONS = 0.1, 200
# Neighbours of other content groups that vote, by exp(SHARPNESS (cosine - 1)), among the SEARCHED nearest.
NEIGHBOURS, SEARCHED, SHARPNESS = 10, 40, 10.0
# Of the logits' margin, beside those of probabilities: among names that are ruled out altogether it still tells by how much.
SHARE_OF_LOGITS = 0.05


def suspects(images: pd.DataFrame, embeddings: np.ndarray, *, share: float, seed: int) -> pd.DataFrame:
    """The `suspects` table: the share of the pictures whose names are the most doubtful, if another name fits better.

    Doubt is that of `doubts`. A picture is not judged where all pictures of its name are of one content group.

    Args:
        images: rows of the `images` table, all with a name.
        embeddings: (n, d) in their order.
    """
    names, codes = np.unique(images["scientific_name"].to_numpy(dtype=str), return_inverse=True)
    groups = pd.factorize(images["content_group"])[0]
    doubt, suggested = doubts(embeddings, codes, groups, seed=seed)
    rows = np.argsort(-doubt, kind="stable")[: round(share * len(images))]
    rows = rows[doubt[rows] > 0]
    ids, units = images["image_id"].to_numpy(), normalise(embeddings)
    return pd.DataFrame(
        {
            "image_id": ids[rows],
            "name": names[codes[rows]],
            "suggested": names[suggested[rows]],
            "doubt": doubt[rows],
            "nearest_of_name": [_nearest_of(row, codes[row], units, codes, groups, ids) for row in rows],
            "nearest_of_suggested": [_nearest_of(row, suggested[row], units, codes, groups, ids) for row in rows],
        },
        columns=list(SUSPECTS.columns),
    )


def doubts(
    embeddings: np.ndarray, codes: np.ndarray, groups: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """How doubtful each picture's label is (n,), and the best other label (n,).

    Two judges that have not seen the picture's content group give every label a probability: the linear probe,
    cross-fitted, and the nearest pictures, who vote. Doubt is how much more probable the best other label is than the
    picture's own, the mean of both, and a small share of the same of the probe's logits. Positive where another label fits
    better; -inf where no other content group has the picture's label.

    Args:
        embeddings: (n, d).
        codes: (n,) int64, labels, of which each of 0..K-1 occurs.
        groups: (n,) int64, content groups.
    """
    logits = cross_fitted_logits(embeddings, codes, groups, seed=seed)
    votes = votes_of_neighbours(embeddings, codes, groups, int(codes.max()) + 1)
    probability = torch.softmax(torch.from_numpy(logits), 1).numpy()
    places = np.arange(len(codes))
    both = (probability + votes) / 2
    others = both.copy()
    others[places, codes] = -np.inf
    suggested = others.argmax(axis=1)
    # A label that the other folds lack was never given: nothing is known of it.
    judged = np.isfinite(logits[places, codes]) & np.isfinite(logits[places, suggested])
    doubt = np.full(len(codes), -np.inf)
    at, own, other = places[judged], codes[judged], suggested[judged]
    doubt[judged] = both[at, other] - both[at, own] + SHARE_OF_LOGITS * (logits[at, other] - logits[at, own])
    return doubt, suggested


def cross_fitted_logits(embeddings: np.ndarray, codes: np.ndarray, groups: np.ndarray, *, seed: int) -> np.ndarray:
    """The probe's logits (n, K) float32 of pictures that it was not fitted on; -inf for labels that it was not fitted on."""
    logits = np.full((len(codes), int(codes.max()) + 1), -np.inf, dtype=np.float32)
    folds = _folds(codes, groups, seed)
    for fold in np.unique(folds):
        here, rest = np.flatnonzero(folds == fold), folds != fold
        known, of_rest = np.unique(codes[rest], return_inverse=True)
        if len(known) < 2:
            continue
        found = probe_logits(embeddings[rest], of_rest, embeddings[here], c=C, max_iterations=MAX_ITERATIONS)
        logits[np.ix_(here, known)] = found.logits.numpy()
    return logits


def _folds(codes: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """A fold (n,) of each picture. Content groups stay together; those of one label are dealt to the folds in turn."""
    drawn = stream_of(seed, "suspects").permutation(int(groups.max()) + 1)
    first = np.unique(groups, return_index=True)[1]
    order = np.lexsort((drawn, codes[first]))
    of_group = np.empty(len(order), dtype=np.int64)
    of_group[order] = np.arange(len(order)) % FOLDS
    return of_group[groups]


def votes_of_neighbours(embeddings: np.ndarray, codes: np.ndarray, groups: np.ndarray, n_labels: int) -> np.ndarray:
    """The share (n, K) float32 of the votes of the nearest pictures of other content groups, that each label has."""
    found, cosines = nearest(embeddings, embeddings, min(SEARCHED, len(embeddings)))
    other = groups[found] != groups[:, None]
    votes = np.exp(SHARPNESS * (cosines - 1)) * (other & (other.cumsum(axis=1) <= NEIGHBOURS))
    shares = np.zeros((len(codes), n_labels), dtype=np.float32)
    np.add.at(shares, (np.arange(len(codes))[:, None], codes[found]), votes)
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)


def _nearest_of(row: int, label: int, units: np.ndarray, codes: np.ndarray, groups: np.ndarray, ids: np.ndarray) -> str:
    """The image_id of the picture of a label, of another content group, that is nearest to this one."""
    candidates = np.flatnonzero((codes == label) & (groups != groups[row]))
    return str(ids[candidates[np.argmax(units[candidates] @ units[row])]]) if len(candidates) else ""
