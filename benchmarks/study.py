"""Does it work? Trains students on clusters and on controls, over k, seeds and settings, and says what they gained.

    python -m benchmarks.study --data FOLDER

The tables that every training needs (pictures, splits, clusters, store) come from the workflow; the trainings run here, as
many at once as there are cores, since starting a job for each would cost as much as the training. Each result is a file
in results/study/runs, and what is there is not computed again. The tables go to results/study/study.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cladeclip.io.atomic import read_json, write_json, write_text
from cladeclip.run.job_environment import prepare_environment

FOLDER = Path("results/study")
RANKS = ("species", "genus")


@dataclass(frozen=True)
class Case:
    """One training. `changes` are settings of `train:` that differ from those of its series."""

    series: str
    student: str
    split: str
    labels: str
    seed: int
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        changes = "".join(f".{key}-{value}" for key, value in self.changes.items())
        return f"{self.series}.{self.student}.{self.split}.{self.labels}.seed{self.seed}{changes}"


MINI = yaml.safe_load(Path("config/mini.yaml").read_text(encoding="utf-8"))
LITE0 = MINI["encoders"]["lite0"] | {"image_px": 160}
SPLITS = ["holdout-0", "open-0"]
# What each series changes in the config it starts from.
SERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "demo": (
        "demo",
        {
            "labels": {
                "teachers": ["histograms"],
                "features": ["image"],
                "also": [],
                "controls": ["random-k54", "genus", "species"],
            }
        },
    ),
    "small": (
        "mini",
        {
            "labels": {
                "teachers": ["lite0", "handmade"],
                "controls": ["random-k75", "genus", "species"],
            }
        },
    ),
    "lite0": (
        "mini",
        {
            "encoders": {"lite0-160": LITE0},
            "labels": {
                "teachers": ["lite0-160"],
                "k": [50, 100, 150],
                "controls": ["random-k100", "genus", "species"],
            },
            "students": ["lite0-160"],
            "train": {"store_px": 184, "epochs": 6, "batch_size": 32, "lr": 1.0e-4, "num_feat": 1280},
            "report": {"primary": {"k": 100}},
        },
    ),
}


def cases() -> list[Case]:
    """The design: what is asked first stands first."""
    found = []
    for split in SPLITS:
        for seed in (5, 6):
            for labels in ("histograms-image-k9", "histograms-image-k27", "histograms-image-k54"):
                found.append(Case("demo", "specimen-vit", split, labels, seed))
            for labels in ("random-k54", "genus", "species"):
                found.append(Case("demo", "specimen-vit", split, labels, seed))
            for labels in ("lite0-image-k25", "lite0-image-k75", "lite0-image-k150", "random-k75", "genus", "species"):
                found.append(Case("small", "small-vit", split, labels, seed))
    for labels in ("lite0-160-image-k50", "lite0-160-image-k100", "random-k100", "genus", "species"):
        found.append(Case("lite0", "lite0-160", "holdout-0", labels, 5))
    for labels in ("lite0-160-image-k100", "random-k100", "species"):
        found.append(Case("lite0", "lite0-160", "open-0", labels, 5))
    one = Case("small", "small-vit", "holdout-0", "lite0-image-k75", 5)
    for changes in ({"lr": 3e-4}, {"lr": 3e-3}, {"epochs": 30}, {"augment": "timm"}, {"augment": "none"}):
        found += [replace(one, changes=changes), replace(one, labels="species", changes=changes)]
    # Whether what stood out among these holds with another seed, and without meaning in the labels.
    for labels in ("lite0-image-k75", "species", "random-k75"):
        found += [replace(one, labels=labels, seed=seed, changes={"augment": "timm"}) for seed in (5, 6)]
    found = list({case.name: case for case in found}.values())
    found.append(replace(one, labels="handmade-image-k75"))
    tuned = Case("lite0", "lite0-160", "holdout-0", "lite0-160-image-k100", 5)
    found += [replace(tuned, changes={"lr": lr}) for lr in (1e-5, 1e-3)]
    return found


def config_of(series: str, data: str) -> dict[str, Any]:
    """The whole config of a series, and as a side effect the file that snakemake takes it from."""
    from snakemake.utils import update_config

    base, changes = SERIES[series]
    config = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    overrides = yaml.safe_load(Path(f"config/{base}.yaml").read_text(encoding="utf-8"))
    changes = json.loads(json.dumps(changes)) | {"splits": SPLITS, "dataset": {"name": f"study-{series}"}}
    if base == "mini":
        changes["dataset"] |= {"root": data}
    update_config(overrides, changes)
    overrides["labels"]["only"] = {}  # the design says what is trained on which split
    write_text(FOLDER / f"{series}.yaml", yaml.safe_dump(overrides))
    update_config(config, overrides)
    return config


def prepare(series: str, config: dict[str, Any], wanted: list[Case]) -> None:
    """Has the workflow make what the trainings of a series read."""
    results = Path("results", config["dataset"]["name"])
    targets = {f"{results}/store/{config['train']['store_px']}.arrow", f"weights/{wanted[0].student}/encoder.json"}
    targets |= {f"{results}/{case.split}/split.parquet" for case in wanted}
    targets |= {f"{results}/{case.split}/clusters/{case.labels}.parquet" for case in wanted}
    command = [sys.executable, "-m", "snakemake", *sorted(targets), "--cores", str(os.cpu_count())]
    subprocess.run([*command, "--configfile", str(FOLDER / f"{series}.yaml"), "--quiet", "all"], check=True)


def run(case: Case, config: dict[str, Any]) -> None:
    """Trains and evaluates one case; labels `untrained` leave the student as it is."""
    import torch

    from cladeclip.config.described import deciding
    from cladeclip.config.sections import Train
    from cladeclip.datasets.store import PictureStore
    from cladeclip.encoders.embed import embed_images
    from cladeclip.encoders.load import load_encoder
    from cladeclip.evaluation.evaluate import evaluate
    from cladeclip.io.parquet import read_table
    from cladeclip.tables import IMAGES, SPLIT
    from cladeclip.training.classes import a_class_of_each
    from cladeclip.training.loop import train

    torch.set_num_threads(1)
    results, started = Path("results", config["dataset"]["name"]), time.perf_counter()
    encoder = load_encoder(f"weights/{case.student}")
    if case.labels != "untrained":
        targets = a_class_of_each([str(results / case.split / "clusters" / f"{case.labels}.parquet")])
        settings = replace(Train(**deciding(Train, config["train"])), **case.changes)
        store = PictureStore(results / "store" / f"{config['train']['store_px']}.arrow")
        train(encoder, store, targets, settings, seed=case.seed, workers=0)
    trained = time.perf_counter() - started
    images = read_table(results / "images.parquet", IMAGES)
    split = read_table(results / case.split / "split.parquet", SPLIT)
    ids, root = list(images["image_id"]), config["dataset"]["root"]
    embeddings = embed_images(encoder, root, ids, batch_size=32, workers=1)
    asked = {"query_share": config["eval"]["query_share"], "seed": config["seeds"]["queries"]}
    predictions = evaluate(images, embeddings, split, protocol=case.split, **asked).predictions
    groups = split.set_index("image_id")["group"]
    answers = {}
    for rank in RANKS:
        chosen = predictions[(predictions["taxa"] == "All") & (predictions["column"] == rank)].sort_values("image_id")
        answers[rank] = (chosen["accuracy_individual"] == chosen["label"]).astype(int).tolist()
    answers["groups"] = groups.reindex(chosen["image_id"]).tolist()
    write_json(FOLDER / "runs" / f"{case.name}.json", asdict(case) | {"seconds": trained, "answers": answers})
    print(f"{case.name}: {np.mean(answers['species']):.1%} species, {trained:.0f} s", flush=True)


def tables(runs: list[dict[str, Any]]) -> str:
    """Accuracy and gain of every labels x split, averaged over seeds, in Markdown."""
    from cladeclip.evaluation.significance import bootstrap_interval

    untrained = {(run["series"], run["split"]): run["answers"] for run in runs if run["labels"] == "untrained"}
    grouped: dict[tuple[str, str, str, str], list[dict]] = {}
    for run in runs:
        grouped.setdefault((run["series"], run["split"], run["labels"], changed(run)), []).append(run)
    rows = []
    for (series, split, labels, changes), replicas in grouped.items():
        before, row = untrained[series, split], {"series": series, "split": split, "labels": labels, "changed": changes}
        for rank in RANKS:
            answers = np.array([replica["answers"][rank] for replica in replicas])
            accuracies = answers.mean(1)
            gain = answers.mean(0) - np.array(before[rank])
            low, high = bootstrap_interval(gain, groups=np.array(before["groups"]))
            spread = f" ± {100 * accuracies.std(ddof=1):.1f}" if len(replicas) > 1 else ""
            row[f"{rank} %"] = f"{100 * accuracies.mean():.1f}{spread}"
            row[f"{rank} gain (95 % interval)"] = (
                f"{100 * gain.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" if labels != "untrained" else ""
            )
        row |= {"seeds": len(replicas), "queries": len(before["groups"])}
        row["s a training"] = f"{np.mean([replica['seconds'] for replica in replicas]):.0f}"
        rows.append(row)
    return markdown(rows)


def differences(runs: list[dict[str, Any]]) -> str:
    """Every two labels of the same series, split and settings, on the same queries, in Markdown."""
    from cladeclip.evaluation.significance import bootstrap_interval

    grouped: dict[tuple[str, str, str], dict[str, list[dict]]] = {}
    for run in runs:
        if run["labels"] != "untrained":
            of_setting = grouped.setdefault((run["series"], run["split"], changed(run)), {})
            of_setting.setdefault(run["labels"], []).append(run)
    rows = []
    for (series, split, changes), by_labels in grouped.items():
        for first, second in combinations(by_labels, 2):
            row = {"series": series, "split": split, "changed": changes, "first": first, "second": second}
            for rank in RANKS:
                one, other = (
                    np.mean([run["answers"][rank] for run in by_labels[labels]], axis=0) for labels in (first, second)
                )
                low, high = bootstrap_interval(one - other, groups=np.array(by_labels[first][0]["answers"]["groups"]))
                difference = 100 * (one - other).mean()
                row[f"{rank} first - second"] = f"{difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
            rows.append(row)
    return markdown(rows)


def changed(run: dict[str, Any]) -> str:
    """The settings of a run that are not those of its series."""
    return ", ".join(f"{key} {value}" for key, value in run["changes"].items())


def markdown(rows: list[dict[str, Any]]) -> str:
    frame = pd.DataFrame(rows)
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * len(frame.columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--data", type=Path, help="pictures in VLM4Bio's layout; without, only the drawn ones are used")
    arguments = parser.parse_args()
    prepare_environment("src")  # as every job of the workflow
    wanted = [case for case in cases() if arguments.data or case.series == "demo"]
    started, configs = time.perf_counter(), {}
    for series in dict.fromkeys(case.series for case in wanted):
        configs[series] = config_of(series, str(arguments.data))
        of_series = [case for case in wanted if case.series == series]
        prepare(series, configs[series], of_series)
        wanted = [Case(series, of_series[0].student, split, "untrained", 5) for split in SPLITS] + wanted
    print(f"Prepared in {time.perf_counter() - started:.0f} s; {len(wanted)} runs.", flush=True)
    missing = [case for case in wanted if not (FOLDER / "runs" / f"{case.name}.json").exists()]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for waiting in [pool.submit(run, case, configs[case.series]) for case in missing]:
            waiting.result()
    runs = [read_json(FOLDER / "runs" / f"{case.name}.json") for case in wanted]
    text = f"{tables(runs)}\nTwo kinds of labels against each other, on the same queries:\n\n{differences(runs)}"
    write_text(FOLDER / "study.md", text)
    print(text)
    print(f"{time.perf_counter() - started:.0f} s in all. Written to {FOLDER}/study.md.")


if __name__ == "__main__":
    main()
