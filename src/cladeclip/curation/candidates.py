"""Candidate species: pictures without a species' name, in groups that are likely to be one species each."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from cladeclip.curation.tree import Tree, best_height, tree_of
from cladeclip.datasets.names import read_names
from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.search import nearest
from cladeclip.hierarchy.classifier import Classifier
from cladeclip.hierarchy.novelty import centroids_of, within_class_whitening
from cladeclip.random_streams import stream_of
from cladeclip.tables import CANDIDATES

# From so many species on, the known ones can say how alike pictures of one species are.
ENOUGH_SPECIES = 4
# Share of a name's pictures that may be answered otherwise.
ERRORS = 0.1
# A candidate is parted beforehand, so many times at most.
DEPTH = 16
# Of a provisional name where nothing is known of the pictures.
NO_GROUP = "candidate"


@dataclass(frozen=True)
class Known:
    """Pictures with names: unit vectors (n, d) and species (n,)."""

    units: np.ndarray
    species: np.ndarray


def candidates(
    known: pd.DataFrame,
    of_known: np.ndarray,
    unnamed: pd.DataFrame,
    of_unnamed: np.ndarray,
    classifier: Classifier,
    *,
    score: str,
    seed: int,
) -> pd.DataFrame:
    """The `candidates` table.

    Args:
        known, of_known: rows of the `images` table with names, and their embeddings (n, d).
        unnamed, of_unnamed: those without, or with a genus alone, and theirs (m, d).
        classifier: fitted on the known ones.
        score: the novelty score that decides how far down a name is safe.
    """
    if unnamed.empty:
        return pd.DataFrame(columns=list(CANDIDATES.columns))
    named = Known(normalise(of_known.astype(np.float64)), known["scientific_name"].to_numpy(dtype=str))
    units = normalise(of_unnamed.astype(np.float64))
    tree, height = tree_of_new(units, named, seed=seed)
    found, cosines = nearest(of_unnamed, of_known, 1)
    answers = classifier.answers(of_unnamed, score).in_words(classifier.taxonomy)
    ids, genera = unnamed["image_id"].to_numpy(), unnamed["genus"].to_numpy(dtype=str)
    categories = unnamed["category"].to_numpy(dtype=str)
    middles = {species: _middle(named.units[named.species == species]) for species in np.unique(named.species)}
    genus_of = dict(zip(known["scientific_name"], known["genus"], strict=True))
    provisional = ProvisionalNames([*named.species, *unnamed["scientific_name"]])
    rows = []
    # The largest first: its name does the most.
    groups = [(node, tree.leaves(node)) for node in tree.cut(height)]
    groups.sort(key=lambda group: (-len(group[1]), group[1][0]))
    for number, (node, members) in enumerate(groups, start=1):
        middle = _middle(units[members])
        rank, safe = safe_answer(answers.iloc[members], classifier.taxonomy.ranks)
        genus = most_common(genera[members])
        if genus and not (rank == "species" and genus_of[safe] == genus):
            rank, safe = "genus", genus  # what the data says of these pictures counts more
        genus = genus or (safe if rank == "genus" else "")
        name = safe if rank == "species" else provisional.next(genus, safe or most_common(categories[members]))
        species = most_common(named.species[found[members, 0]])
        of_candidate = {
            "candidate": number,
            "n": len(members),
            "name": name,
            "rank": rank,
            "answer": safe,
            "nearest_species": species,
            "nearest_image_id": known["image_id"].to_numpy()[found[members[np.argmax(cosines[members, 0])], 0]],
            "cosine": float(middle @ middles[species]),
            "tightness": float((units[members] @ middle).mean()),
        }
        rows += [{"image_id": ids[member], "part": part, **of_candidate} for member, part in _parts(tree, node, DEPTH)]
    return pd.DataFrame(rows)[list(CANDIDATES.columns)]


def _middle(units: np.ndarray) -> np.ndarray:
    """The mean direction (d,) of unit vectors (m, d)."""
    return normalise(units.mean(axis=0, keepdims=True))[0]


def tree_of_new(units: np.ndarray, known: Known, *, seed: int) -> tuple[Tree, float]:
    """A tree of pictures (m, d) that have no names, and the height to cut it at.

    Differences that pictures of one species have among themselves count less: vectors are whitened by the known species'
    within-class covariance. The height is the one at which naming known pictures would take the fewest decisions, if their
    names were not known: of two halves of the known species, each is whitened by the other's.
    """
    codes = pd.factorize(known.species)[0]
    n_species = int(codes.max()) + 1
    if n_species < ENOUGH_SPECIES or len(units) < 2:
        # Nothing says how alike pictures of one species are: parts of about the root of their number.
        tree = tree_of(units)
        above = np.sort(tree.heights)[::-1]
        return tree, float(above[min(len(above) - 1, round(len(units) ** 0.5) - 1)]) if len(above) else 0.0
    first = np.isin(codes, stream_of(seed, "candidates").permutation(n_species)[: n_species // 2])
    trees = [
        (tree_of(whitener(known.units[~half], codes[~half])(known.units[half])), codes[half])
        for half in (first, ~first)
    ]
    return tree_of(whitener(known.units, codes)(units)), best_height(trees)


def whitener(units: np.ndarray, codes: np.ndarray) -> "partial[np.ndarray]":
    """A function that makes unit vectors (m, d) of others, in which what known ones of a label differ in counts less.

    Args:
        units: (n, d), known.
        codes: (n,) their labels.
    """
    whitening = within_class_whitening(units - centroids_of(units, codes, int(codes.max()) + 1)[codes])
    return partial(_apply, mean=units.mean(axis=0), whitening=whitening)


def _apply(units: np.ndarray, mean: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    return normalise((units - mean) @ whitening)


def safe_answer(answers: pd.DataFrame, ranks: Sequence[str]) -> tuple[str, str]:
    """The lowest rank, and the name there, that a group of pictures may be of; two blanks where there is none.

    Of pictures of that name, ERRORS are answered otherwise or not so far down. So a name is safe unless more of the group
    are, and so many more that it is no chance (binomial test at 5 %).

    Args:
        answers: a column a rank, blank where a picture was not named so far down.
        ranks: the highest first.
    """
    for rank in reversed(ranks):
        counts = answers[rank][answers[rank] != ""].value_counts()
        if (
            len(counts)
            and binomtest(len(answers) - int(counts.iloc[0]), len(answers), ERRORS, "greater").pvalue >= 0.05
        ):
            return rank, str(counts.index[0])
    return "", ""


def most_common(values: Iterable[str]) -> str:
    """The most frequent value that is not blank, the first in order of those; blank where all are."""
    counts = Counter(value for value in values if value)
    return min(counts, key=lambda value: (-counts[value], value)) if counts else ""


class ProvisionalNames:
    """Gives out `Heliconius sp. 1`, `Heliconius sp. 2` ..., or `Nymphalidae morph 1`, of names that are not taken.

    Only names that `prepare` will read as they are: `butterflies morph 1` would become a species of a genus Butterflies.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._stems: dict[tuple[str, str], str] = {}

    def next(self, genus: str, group: str) -> str:
        """A name in a genus; where that is blank, of a group that is no genus."""
        if (genus, group) not in self._stems:
            self._stems[genus, group] = _stem(genus, group)
        stem, number = self._stems[genus, group], 1
        while f"{stem} {number}" in self._taken:
            number += 1
        name = f"{stem} {number}"
        self._taken.add(name)
        return name


def _stem(genus: str, group: str) -> str:
    """What a number behind it makes a label of, in this genus or in none."""
    tried = [(f"{genus} sp.", genus)] if genus else []
    tried += [(f"{group} morph", ""), (f"{group[:1].upper()}{group[1:]} morph", "")]
    for stem, expected in tried:
        name = f"{stem} 1"
        read = read_names([(name, "")])[name, ""]
        if (read.label, read.genus) == (name, expected):
            return stem
    return NO_GROUP


def _parts(tree: Tree, node: int, depth: int, path: str = "") -> Iterator[tuple[int, str]]:
    """The pictures below a node, each with the way to it: 0 and 1 for the halves, the outermost first."""
    halves = tree.halves(node) if depth else None
    if halves is None:
        yield from ((int(leaf), path) for leaf in tree.leaves(node))
    else:
        for digit, half in zip("01", halves, strict=True):
            yield from _parts(tree, half, depth - 1, path + digit)
