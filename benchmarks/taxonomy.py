"""Names at several ranks and new species: the classifier beside a flat softmax, with and without the dependence term.

    python -m benchmarks.taxonomy --data FOLDER

The pictures are embedded by the workflow as `make real` does; the rest runs here. Each of SEEDS draws which species (or
genera) are new, which pictures ask, and the heads. The tables go to results/study/taxonomy.md.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from benchmarks.study import markdown
from cladeclip.datasets.splits import make_split
from cladeclip.hierarchy.classifier import Classifier, Settings, fit_classifier
from cladeclip.hierarchy.decision import Answers, flat_answers
from cladeclip.hierarchy.heads import HeadSettings
from cladeclip.hierarchy.measures import KNOWN, NEW, auroc_of_new, fpr_at_95, mistaken_for
from cladeclip.hierarchy.taxonomy import Taxonomy
from cladeclip.io.atomic import write_text
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table
from cladeclip.run.job_environment import prepare_environment
from cladeclip.tables import IMAGES

SEEDS = (5, 6, 7, 8, 9)
# Set beforehand: the default of hierarchy.score. The others are looked at as secondary.
PRIMARY = "mahalanobis"
ENCODER = "lite0"
# A new species counts as mistaken consistently if at least this share of its pictures gets one and the same known name.
CONSISTENT = 0.5
COUNTS = ("new species", "of these mistaken consistently")

Row = dict[str, Any]


def measures_of(images: pd.DataFrame, embeddings: np.ndarray, unseen_rank: str, seed: int) -> list[Row]:
    """What each classifier does on one draw of new species or genera."""
    split = make_split(images, "open-0", test_share=0.2, seed=seed, unseen_rank=unseen_rank)
    part = split["part"].to_numpy()
    fit, asked = np.flatnonzero(part == "fit"), np.flatnonzero(part != "fit")
    new = part[asked] == "unseen"
    taxonomy = Taxonomy.of_images(images.iloc[fit])
    truth, points = taxonomy.codes(images.iloc[asked]), embeddings[asked]
    rows, found = [], {}
    for dependence in (1.0, 0.0):
        settings = Settings(HeadSettings(dependence=dependence))
        classifier = fit_classifier(images.iloc[fit], embeddings[fit], taxonomy, settings, seed=seed)
        found[dependence] = classifier.answers(points, PRIMARY)
        row = common(f"ours, dependence {dependence:g}", found[dependence], truth, new, taxonomy)
        heads = [logits.argmax(axis=1) for logits in classifier.heads.logits(points)]
        clash = [taxonomy.parents[r][heads[r]] != heads[r - 1] for r in range(1, len(heads))]
        row["heads that contradict, before decoding"] = float(np.any(clash, axis=0).mean())
        row |= consistently_mistaken(found[dependence], images.iloc[asked], new, taxonomy)
        rows.append(row | novelty(classifier, points, new))
    # The rival: the head for species alone, fitted and calibrated alike.
    lowest = Taxonomy.of_images(images.iloc[fit], [taxonomy.ranks[-1]])
    flat = fit_classifier(images.iloc[fit], embeddings[fit], lowest, Settings(HeadSettings(dependence=0.0)), seed=seed)
    answers = at_the_coverage_of(found[1.0], flat.heads.logits(points)[0], new, taxonomy)
    row = common("flat softmax", answers, truth, new, taxonomy)
    row |= at_each_coverage_of(found[1.0], answers, truth, new, taxonomy)
    rows.append(row | novelty(flat, points, new))
    return [{"new": unseen_rank, "seed": seed, **row} for row in rows]


def at_the_coverage_of(ours: Answers, lowest: np.ndarray, new: np.ndarray, taxonomy: Taxonomy) -> Answers:
    """The flat softmax with the limit at which it names as many images of known species to the species as ours."""
    n_named = int((ours.depth == len(taxonomy.ranks))[~new].sum())
    confidence = softmax(lowest.astype(np.float64), axis=1).max(axis=1)
    limit = np.sort(confidence[~new])[::-1][n_named - 1]
    return flat_answers(lowest, taxonomy, float((confidence >= limit).mean()))


def at_each_coverage_of(ours: Answers, flat: Answers, truth: np.ndarray, new: np.ndarray, taxonomy: Taxonomy) -> Row:
    """The flat softmax's accuracy at every rank on as many images of known species as ours answers there."""
    row: Row = {}
    for place, rank in enumerate(taxonomy.ranks):
        n_answered = int((ours.depth > place)[~new].sum())
        surest = np.argsort(-flat.probability[~new, place], kind="stable")[:n_answered]
        row[f"{rank}: answered"] = n_answered / int((~new).sum())
        row[f"{rank}: right of these"] = float((flat.path == truth)[~new][surest, place].mean())
    return row


def common(name: str, found: Answers, truth: np.ndarray, new: np.ndarray, taxonomy: Taxonomy) -> Row:
    """Accuracy at each rank, contradictions, and what becomes of new species."""
    row: Row = {"classifier": name}
    codes, right = found.codes, found.path == truth
    for place, rank in enumerate(taxonomy.ranks):
        given = codes[:, place] >= 0
        row[f"{rank}: answered"] = float(given[~new].mean())
        row[f"{rank}: right of these"] = float(right[~new & given, place].mean())
        row[f"{rank}: right, all named"] = float(right[~new, place].mean())
    below = range(1, codes.shape[1])
    clash = [(codes[:, r] >= 0) & (taxonomy.parents[r][codes[:, r]] != codes[:, r - 1]) for r in below]
    row["answers that contradict"] = float(np.any(clash, axis=0).mean())
    stopped = new & (found.depth < codes.shape[1])
    row["new: stop above species"] = float(stopped.sum() / new.sum())
    for place, rank in enumerate(taxonomy.ranks[:-1]):
        given = stopped & (codes[:, place] >= 0)
        row[f"new, stopped: right at {rank}"] = float(right[given, place].mean()) if given.any() else np.nan
    return row


def novelty(classifier: Classifier, points: np.ndarray, new: np.ndarray) -> Row:
    """AUROC of every score at the lowest rank, and FPR@95 of the primary one and of max-softmax."""
    scores = {score: of_ranks[:, -1] for score, of_ranks in classifier.novelties(points).items()}
    row = {f"AUROC {score}": auroc_of_new(of_lowest, new) for score, of_lowest in scores.items()}
    return row | {f"FPR@95 {score}": fpr_at_95(scores[score], new) for score in (PRIMARY, "max_softmax")}


def consistently_mistaken(found: Answers, images: pd.DataFrame, new: np.ndarray, taxonomy: Taxonomy) -> Row:
    """The new species that are taken for one known species in at least the share CONSISTENT of their pictures."""
    names = images["scientific_name"].to_numpy()
    table = pd.DataFrame({"part": np.where(new, NEW, KNOWN), "true_species": names})
    mistaken = mistaken_for(table.assign(species=found.in_words(taxonomy)["species"]), "species")
    often = mistaken[mistaken["share_taken"] >= CONSISTENT]
    pairs = [f"{row.label} as {row.taken_for} ({row.share_taken:.0%} of {row.n})" for row in often.itertuples()]
    return {"new species": len(mistaken), "of these mistaken consistently": len(often), "pairs": "; ".join(pairs)}


def summary(table: pd.DataFrame) -> str:
    """Mean and standard deviation over the seeds in percent, a column a classifier, in Markdown."""
    text = ""
    for kind, of_kind in table.groupby("new", sort=False):
        names = list(dict.fromkeys(of_kind["classifier"]))
        by_name = {name: of_kind[of_kind["classifier"] == name].set_index("seed") for name in names}
        rows = []
        for measure in table.columns.difference(["new", "seed", "classifier", "pairs"], sort=False):
            scale = 1 if measure in COUNTS else 100
            row = {"measure": measure}
            for name in names:
                values = scale * by_name[name][measure].dropna()
                row[name] = f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" if len(values) > 1 else "–"
            gap = scale * (by_name[names[0]][measure] - by_name[names[-1]][measure]).dropna()
            row["ours - flat (lowest, highest)"] = (
                f"{gap.mean():+.1f} ({gap.min():+.1f}, {gap.max():+.1f})" if len(gap) > 1 else "–"
            )
            rows.append(row)
        title = "New species" if kind == "species" else "New genera"
        text += f"\n{title}, {of_kind['seed'].nunique()} seeds:\n\n{markdown(rows)}\nMistaken consistently:\n\n"
        text += "".join(f"- seed {seed}: {pairs or 'none'}\n" for seed, pairs in by_name[names[0]]["pairs"].items())
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.taxonomy", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="pictures in VLM4Bio's layout")
    parser.add_argument("--name", default="mini", help="of the run in results/ that has or gets the embeddings")
    parser.add_argument("--small", action="store_true", help="one seed: shows that it runs, no more")
    arguments = parser.parse_args()
    prepare_environment("src")  # as every job of the workflow
    results = Path("results", arguments.name)
    embedded = results / "embeddings" / ENCODER / "image.parquet"
    command = [sys.executable, "-m", "snakemake", str(embedded), "--cores", str(os.cpu_count()), "--quiet", "all"]
    dataset = f'dataset={{"name": "{arguments.name}", "root": "{arguments.data}"}}'
    subprocess.run([*command, "--configfile", "config/mini.yaml", "--config", dataset], check=True)
    images = read_table(results / "images.parquet", IMAGES)
    embeddings = rows_for(embedded, list(images["image_id"]))
    started = time.perf_counter()
    rows = [
        row
        for kind in ("species", "genus")
        for seed in (SEEDS[:1] if arguments.small else SEEDS)
        for row in measures_of(images, embeddings, kind, seed)
    ]
    text = summary(pd.DataFrame(rows))
    write_text(Path("results/study/taxonomy.md"), text)
    print(text)
    print(f"{time.perf_counter() - started:.0f} s in all. Written to results/study/taxonomy.md.")


if __name__ == "__main__":
    main()
