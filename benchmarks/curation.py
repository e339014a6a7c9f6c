"""What a curator's lists are worth, on a finished set whose names are taken for the truth.

    python -m benchmarks.curation --data FOLDER --name NAME --k 200

The set is embedded as `make new` and a run with config/mini.yaml do it. Three tables, which also go to
results/study/curation-NAME.md: wrong names that were put in, beside cleanlab; pictures of species whose names were taken
away, beside naming one by one and beside k-means; copies that were put in, beside imagededup. Needs
`pip install cleanlab imagededup`.
"""

import argparse
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.study import markdown
from cladeclip.clustering.lloyd import kmeans
from cladeclip.config.sections import Curate
from cladeclip.curation.candidates import Known, tree_of_new, whitener
from cladeclip.curation.duplicates import alike
from cladeclip.curation.suspects import cross_fitted_logits, doubts, votes_of_neighbours
from cladeclip.curation.tree import decisions_needed, decisions_until, tree_of
from cladeclip.datasets.pictures import open_prepared
from cladeclip.datasets.splits import make_split
from cladeclip.datasets.store import PictureStore, build_store
from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.fusion import normalise
from cladeclip.encoders.load import load_encoder
from cladeclip.io.atomic import write_text
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table
from cladeclip.run.job_environment import prepare_environment
from cladeclip.tables import IMAGES

ENCODER, SEEDS, FOLDS = "lite0", (5, 6, 7, 8, 9), 4
SHARE_WRONG, LOOKED_AT = 0.05, (0.01, 0.02, 0.05, 0.1)
SHARES_NAMED = (0.5, 0.75, 0.9, 0.95, 1.0)
N_COPIED = 150


def wrong_names(images: pd.DataFrame, embeddings: np.ndarray) -> pd.DataFrame:
    """Precision at what is looked at, and recall at the last, of names put in the place of others; mean of SEEDS."""
    rows = []
    for kind in ("of the same genus", "of any genus"):
        for seed in SEEDS:
            given, is_wrong = with_wrong_names(images, kind, seed)
            codes = np.unique(given, return_inverse=True)[1]
            groups = pd.factorize(images["content_group"])[0]
            for method, doubt in _doubts(embeddings, codes, groups, seed).items():
                order = np.argsort(-doubt, kind="stable")
                found = [is_wrong[order[: round(share * len(order))]] for share in LOOKED_AT]
                rows.append(
                    {"wrong names": kind, "ranked by": method}
                    | {f"right at {share:.0%}": one.mean() for share, one in zip(LOOKED_AT, found, strict=True)}
                    | {f"recall at {LOOKED_AT[-1]:.0%}": found[-1].sum() / is_wrong.sum()}
                )
    of_methods = pd.DataFrame(rows).groupby(["wrong names", "ranked by"], sort=False)
    spread = of_methods[f"right at {LOOKED_AT[-1]:.0%}"].std()
    return of_methods.mean().assign(**{f"sd of right at {LOOKED_AT[-1]:.0%}": spread}).reset_index()


def with_wrong_names(images: pd.DataFrame, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Names (n,), a share of them replaced, and whether each (n,) was."""
    rng = np.random.default_rng(seed)
    names, genera = images["scientific_name"].to_numpy(dtype=object), images["genus"].to_numpy()
    pools = images.groupby("genus")["scientific_name"].unique() if "same" in kind else None
    everything = np.unique(names)
    of_row = [np.sort(pools[genus]) if pools is not None else everything for genus in genera]
    can = np.flatnonzero([len(pool) > 1 for pool in of_row])
    given, is_wrong = names.copy(), np.zeros(len(names), dtype=bool)
    for row in rng.choice(can, round(SHARE_WRONG * len(names)), replace=False):
        given[row] = rng.choice(of_row[row][of_row[row] != names[row]])
        is_wrong[row] = True
    return given.astype(str), is_wrong


def _doubts(embeddings: np.ndarray, codes: np.ndarray, groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """How doubtful each name is (n,), by method. What we cannot judge comes last in all of them."""
    from cleanlab.filter import find_label_issues

    ours, _ = doubts(embeddings, codes, groups, seed=seed)
    logits = cross_fitted_logits(embeddings, codes, groups, seed=seed).astype(np.float64)
    probability = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    both = (probability + votes_of_neighbours(embeddings, codes, groups, probability.shape[1])) / 2
    judged = np.flatnonzero(np.isfinite(ours))
    _, of_judged = np.unique(codes[judged], return_inverse=True)
    columns = np.unique(codes[judged])

    def cleanlab(of_names: np.ndarray) -> np.ndarray:
        """What it finds, in its order, then the others by the same score."""
        shares = of_names[np.ix_(judged, columns)] + 1e-12
        shares /= shares.sum(axis=1, keepdims=True)
        issues = judged[find_label_issues(of_judged, shares, return_indices_ranked_by="self_confidence")]
        found = -of_names[np.arange(len(codes)), codes]
        found[issues] = 1.0 + np.arange(len(issues), 0, -1)
        return found

    units = normalise(embeddings)
    middles = normalise(np.stack([units[codes == code].mean(axis=0) for code in range(codes.max() + 1)]))
    far = -np.einsum("nd,nd->n", units, middles[codes])
    chance = np.random.default_rng(seed).random(len(codes))
    found = {
        "ours": ours,
        "ours, by the probe alone": _margin(probability, codes),
        "cleanlab, its defaults": cleanlab(probability),
        "cleanlab, on both judges": cleanlab(both),
        "own-class cosine": far,
        "chance": chance,
    }
    return {method: np.where(np.isfinite(ours), doubt, -np.inf) for method, doubt in found.items()}


def _margin(probability: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """How much more probable the best other label is (n,) than the own."""
    others = probability.copy()
    others[np.arange(len(codes)), codes] = -np.inf
    return others.max(axis=1) - probability[np.arange(len(codes)), codes]


def naming(images: pd.DataFrame, embeddings: np.ndarray, k: int) -> pd.DataFrame:
    """Decisions a picture until shares of the pictures of unseen species have their right names, mean of the folds."""
    units, rows = normalise(embeddings.astype(np.float64)), []
    species = images["scientific_name"].to_numpy(dtype=str)
    for fold in range(FOLDS):
        part = make_split(images, f"open-{fold}", test_share=0.2, seed=5)["part"].to_numpy()
        new, known = np.flatnonzero(part == "unseen"), np.flatnonzero(part != "unseen")
        truth = species[new]
        of_known = Known(units[known], species[known])
        tree, height = tree_of_new(units[new], of_known, seed=5)
        needed = decisions_needed(tree, truth)
        ours = [(tree.leaves(node), int(needed[node])) for node in tree.cut(height)]
        theirs = _clustered(units[new], k, truth)
        whitened = whitener(of_known.units, pd.factorize(of_known.species)[0])(units[new])
        as_many = _clustered(whitened, len(ours), truth)
        one_by_one = [(np.array([place]), 1) for place in range(len(new))]
        for method, groups in (
            ("candidates", ours),
            ("k-means, as many groups, whitened", as_many),
            (f"k-means, k = {k}", theirs),
            ("one by one", one_by_one),
        ):
            purity = sum(pd.Series(truth[members]).value_counts().iloc[0] for members, _ in groups) / len(new)
            rows.append(
                {
                    "method": method,
                    "fold": fold,
                    "pictures": len(new),
                    "species": len(set(truth)),
                    "groups": len(groups),
                }
                | {"bound": len(groups) / len(new) + 1 - purity}
                | {
                    f"{share:.0%} named": decisions_until(
                        share, [len(members) for members, _ in groups], [decisions for _, decisions in groups]
                    )
                    / len(new)
                    for share in SHARES_NAMED
                }
            )
    of_methods = pd.DataFrame(rows).groupby("method", sort=False)
    return of_methods.mean(numeric_only=True).drop(columns="fold").reset_index()


def _clustered(points: np.ndarray, k: int, truth: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Clusters of k-means: their members, and the decisions that each takes if it is split as candidates are."""
    labels, found = kmeans(points.astype(np.float32), min(k, len(points)), seed=5).labels, []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        found.append((members, int(decisions_needed(tree_of(points[members]), truth[members])[-1])))
    return found


def copies(picture: Image.Image, rng: np.random.Generator) -> Iterator[tuple[str, Image.Image, int]]:
    """A crop, the mirror image, a recompression and a smaller one: kind, picture, JPEG quality."""
    width, height = picture.size
    share = rng.uniform(0.7, 0.95)
    across, down = int(width * share), int(height * share)
    left, top = rng.integers(width - across + 1), rng.integers(height - down + 1)
    yield "crop", picture.crop((left, top, left + across, top + down)), 95
    yield "mirror", picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 95
    yield "recompress", picture, int(rng.integers(15, 50))
    share = rng.uniform(0.3, 0.7)
    yield "resize", picture.resize((max(8, int(width * share)), max(8, int(height * share)))), 90


def duplicates(images: pd.DataFrame, embeddings: np.ndarray, data: Path) -> pd.DataFrame:
    """Recall of copies that were put in, and false pairs, which are of a copy and a picture that it is no copy of."""
    rng, settings = np.random.default_rng(5), Curate()
    ids = images["image_id"].to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "set").symlink_to(data.resolve())
        source, kinds = {}, {}
        for place in rng.choice(len(ids), N_COPIED, replace=False):
            picture = open_prepared(str(data), ids[place], reduce_to=1200)
            for kind, copy, quality in copies(picture, rng):
                name = f"copy-{place}-{kind}.jpg"
                copy.save(root / name, quality=quality)
                source[name], kinds[name] = f"set/{ids[place]}", kind
        encoder = load_encoder(Path("weights", ENCODER))
        names = np.array([*(f"set/{image_id}" for image_id in ids), *source], dtype=object)
        of_copies = embed_images(encoder, root, list(source), batch_size=32, workers=2, decode="fast", precision="auto")
        build_store(root, list(names), root / "store.arrow", side=112, workers=2)
        points = np.concatenate([embeddings, of_copies])
        store = PictureStore(root / "store.arrow")
        pairs = alike(names, points, store, cosine=settings.cosine, workers=2)
        rows = []
        for least in (settings.correlation, 0.9, 0.95):
            found = pairs[pairs["correlation"] >= least]
            rows.append({"method": f"ours, from {least:g} on"} | _recall(_as_set(found), source, kinds))
        hashes = _hashes(root, names)
        for distance, found in _hash_pairs(hashes, names, set(source)):
            rows.append({"method": f"imagededup PHash, {distance} bits"} | _recall(found, source, kinds))
    return pd.DataFrame(rows)


def _as_set(pairs: pd.DataFrame) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in pairs[["image_id", "other_image_id"]].itertuples(index=False, name=None)}


def _hashes(root: Path, names: np.ndarray) -> np.ndarray:
    from imagededup.methods import PHash

    method = PHash(verbose=False)
    return np.array([int(method.encode_image(image_file=str(root / name)), 16) for name in names], dtype=np.uint64)


def _hash_pairs(hashes: np.ndarray, names: np.ndarray, copied: set[str]) -> Iterator[tuple[int, set[frozenset[str]]]]:
    rows = [place for place, name in enumerate(names) if name in copied]
    bits = np.bitwise_count(hashes[rows][:, None] ^ hashes[None, :])
    for distance in (0, 2, 4, 6, 8, 10):
        ones, others = np.nonzero(bits <= distance)
        yield (
            distance,
            {frozenset((names[rows[a]], names[b])) for a, b in zip(ones, others, strict=True) if rows[a] != b},
        )


def _recall(found: set[frozenset[str]], source: dict[str, str], kinds: dict[str, str]) -> dict[str, float]:
    def of(name: str) -> str:
        return source.get(name, name)

    with_copy = [pair for pair in found if pair & source.keys()]
    false = sum(len({of(name) for name in pair}) > 1 for pair in with_copy)
    hit = pd.Series({name: frozenset((name, origin)) in found for name, origin in source.items()})
    by_kind = hit.groupby(pd.Series(kinds)).mean()
    return {"recall": hit.mean(), **by_kind, "false pairs": false / max(1, len(with_copy))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--name", required=True, help="of the finished run: results/NAME")
    parser.add_argument("--k", type=int, required=True, help="of k-means, beside which naming stands")
    parser.add_argument("--only", choices=("names", "naming", "copies"), help="one of the three")
    arguments = parser.parse_args()
    prepare_environment(os.environ.get("PYTHONPATH", "src"))
    images = read_table(f"results/{arguments.name}/images.parquet", IMAGES)
    images = images[images["scientific_name"] != ""].reset_index(drop=True)
    embeddings = rows_for(f"results/{arguments.name}/embeddings/{ENCODER}/image.parquet", list(images["image_id"]))
    tables: dict[str, tuple[str, Callable[[], pd.DataFrame]]] = {
        "names": ("Wrong names", lambda: wrong_names(images, embeddings)),
        "naming": ("Decisions a picture", lambda: naming(images, embeddings, arguments.k)),
        "copies": ("Copies", lambda: duplicates(images, embeddings, arguments.data)),
    }
    text = io.StringIO()
    for what, (title, made) in tables.items():
        if arguments.only not in (None, what):
            continue
        part = f"## {title}: {arguments.name}\n\n{markdown(made().round(3).to_dict(orient='records'))}\n\n"
        print(part, flush=True)
        text.write(part)
    write_text(f"results/study/curation-{arguments.name}.md", text.getvalue())


if __name__ == "__main__":
    main()
