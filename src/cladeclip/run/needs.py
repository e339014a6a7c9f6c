"""What a configured run takes on this machine: disk, and seconds of each rule, computed before it is started."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cladeclip.datasets.listing import files_below
from cladeclip.datasets.pictures import UNUSABLE, open_picture
from cladeclip.encoders.speed import Speed
from cladeclip.errors import size_in_words
from cladeclip.names import ClusterLabels, Features, Split, parse_labels
from cladeclip.plan import (
    all_models,
    checkpoints,
    clustered_features,
    encoder_of,
    encoders_in_use,
    tables_on,
    teachers,
    trained_models,
    trainings,
)

# Of a stored picture, measured on VLM4Bio: bytes a pixel, and pixels of a picture whose shorter side is 1.
BYTES_PER_PIXEL, ASPECT = 0.45, 1.33
# Forward passes that a training step costs: its own, and about two for the backward pass.
STEP = 3
# About the share of the pictures that a training sees.
FITTED = 0.8
# Costs beside matrix products, in operations of a matrix product, measured once (`make bench`, 2 cores): per pair of
# pictures in the search; per picture and label in an evaluation of the probe's objective, and the number of evaluations; per
# picture and centre in an iteration of k-means, and the number of iterations.
OF_A_PAIR, OF_A_LOGIT, OF_A_CENTRE = 6000, 1300, 800
PROBE_EVALUATIONS, KMEANS_ITERATIONS = 70, 25
# Seconds to take one picture through an embedding job, beside reading it and the network.
OF_A_PICTURE = 8e-4
# Seconds of a core to decode and augment one picture of a store with this shorter side, for a training step on the CPU.
OF_A_STEP, STEP_PX = 3.6e-3, 288
# Seconds of t-SNE for each 10,000 points of the map, of three models.
MAP_SECONDS = 90
# Pictures that are read to see how long it takes.
SAMPLE = 20


class MachineSpeed(NamedTuple):
    """Operations a second of a product of matrices in float32; seconds to start a job, and to read a picture."""

    operations: float
    start: float
    picture: float


def speed_of_machine(config: Mapping[str, Any]) -> MachineSpeed:
    """Measured with the cores of an evaluation; pictures are a sample of the run's own, where they are there."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(config["eval"]["threads"])
    factor = torch.ones(2048, 2048)
    taken = []
    for _ in range(5):
        start = time.monotonic()
        factor @ factor
        taken.append(time.monotonic() - start)
    torch.set_num_threads(threads)
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import cladeclip.encoders.load"], check=True)
    # A job reads its tables and models as well, and writes: as much again.
    to_start = 2 * (time.monotonic() - start)
    return MachineSpeed(2 * 2048**3 / min(taken), to_start, _seconds_a_picture(config))


def _seconds_a_picture(config: Mapping[str, Any]) -> float:
    root = Path(config["dataset"]["root"])
    files = files_below(root)[0]["path"]
    start, read = time.monotonic(), 0
    for path in files[:: max(1, len(files) // SAMPLE)]:
        try:
            open_picture(root / path, reduce_to=config["train"]["store_px"])
        except UNUSABLE:
            continue  # the run says which cannot be read, and why
        read += 1
    return (time.monotonic() - start) / read if read else 0.0


def disk_bytes(config: Mapping[str, Any], n: int, speeds: Mapping[str, Speed]) -> tuple[float, float]:
    """What the run leaves on disk with n pictures, and what of it are weights and checkpoints."""
    students = [encoder_of(model) for _, model in checkpoints(config)]
    store = n * BYTES_PER_PIXEL * ASPECT * config["train"]["store_px"] ** 2
    known = [speeds[name] for name in [*speeds, *students] if name in speeds]
    numbers = sum(one.dim for one in known)
    numbers += sum(
        speeds[teacher].dim
        for teacher, features in clustered_features(config)
        if Features.parse(features).captioner and teacher in speeds
    )
    networks = sum(one.weights for one in known)
    return store + 2 * 4 * n * numbers + networks, networks  # embeddings are kept in the cache as well


def seconds_of_rules(
    config: Mapping[str, Any], n: int, n_species: int, speeds: Mapping[str, Speed], machine: MachineSpeed
) -> dict[str, float]:
    """Seconds of each rule with n pictures, one job after the other; of encoders without a speed, what does not need it."""
    read = n * (machine.picture / config["embed"]["threads"] + OF_A_PICTURE)

    def embedding(encoder: str) -> float:
        return machine.start + read + (n / speeds[encoder].pictures if encoder in speeds else 0.0)

    def dim(encoder: str) -> int:
        return speeds[encoder].dim if encoder in speeds else 512

    def evaluation(split: str, model: str) -> float:
        found, asked = n, n
        if Split.parse(split).is_holdout:
            asked = n * config["folds"]["test_share"]
        elif Split.parse(split).is_open:
            found = asked = n * config["folds"]["unseen_share"]
        d = dim(encoder_of(model))
        search = found * asked * (4 * d + OF_A_PAIR)
        probe = PROBE_EVALUATIONS * FITTED * found * 1.4 * n_species * (4 * d + OF_A_LOGIT)
        return machine.start + (search + (probe if config["eval"]["probe"]["c"] > 0 else 0)) / machine.operations

    def clustering(labels: str) -> float:
        parsed = parse_labels(labels, config["encoders"])
        if not isinstance(parsed, ClusterLabels):
            return machine.start
        iterations = KMEANS_ITERATIONS * config["cluster"]["restarts"]
        of_a_centre = 2 * dim(parsed.teacher) + OF_A_CENTRE
        return machine.start + iterations * FITTED * n * parsed.k * of_a_centre / machine.operations

    def training(model: str) -> float:
        student = encoder_of(model)
        train = config["train"]
        of_a_picture = OF_A_STEP * (train["store_px"] / STEP_PX) ** 2 / train["threads"] + OF_A_PICTURE / 4
        if student in speeds:
            of_a_picture += STEP / speeds[student].pictures
        return machine.start + (train["epochs"] + train["head_epochs"] / STEP) * FITTED * n * of_a_picture

    models = [(split, model) for split in config["splits"] for model in all_models(config, split)]
    captions = {Features.parse(features).captioner for _, features in clustered_features(config)} - {None}
    return {
        "prepare": machine.start + n * machine.picture,
        "store": machine.start + n * machine.picture if trainings(config) else 0.0,
        "caption": machine.start * len(captions),
        "embed": sum(embedding(name) for name in encoders_in_use(config))
        + sum(embedding(encoder_of(model)) for _, model in checkpoints(config)),
        "embed_text": machine.start * len(captions) * len(teachers(config)),
        # With the controls, which take the start of a job alone.
        "cluster": sum(clustering(name) for split in config["splits"] for name in tables_on(config, split)),
        "train": sum(training(model) for split in config["splits"] for model in trained_models(config, split)),
        "evaluate": sum(evaluation(split, model) for split, model in models),
        "zero_shot": machine.start * len(models) if config["eval"]["zero_shot"] else 0.0,
        "hierarchy": sum(evaluation(split, model) for split, model in models if Split.parse(split).is_open),
        "embeddings_map": MAP_SECONDS * min(n, config["report"]["map_points"]) / 10_000,
        "report": 4 * machine.start,  # with saliency, the comparison and the manifest
    }


def in_sentences(
    config: Mapping[str, Any], n: int, whence: str, n_species: int, speeds: Mapping[str, Speed], machine: MachineSpeed
) -> list[str]:
    """What the run takes with n pictures: GB on disk, hours on this machine."""
    disk, networks = disk_bytes(config, n, speeds)
    seconds = seconds_of_rules(config, n, n_species, speeds, machine)
    most = sorted(seconds, key=lambda rule: -seconds[rule])[:4]
    lines = [
        f"{n:,} pictures ({whence}); {len(trainings(config))} trainings of {config['train']['epochs']} epochs.",
        f"Disk: about {size_in_words(disk)}, {size_in_words(networks)} of it weights and checkpoints.",
        f"Time, one job after the other: about {duration(sum(seconds.values()))}; most of it "
        f"{', '.join(f'{rule} {duration(seconds[rule])}' for rule in most)}. Computed from the speed of the encoders and "
        "of this machine just now; writing captions with a model comes on top.",
    ]
    if not machine.picture:
        lines.append("Reading the pictures comes on top: none is there yet to see how long it takes.")
    if (load := os.getloadavg()[0]) > 1:
        lines.append(
            f"Other work runs here (load {load:.0f}), which makes that more than it will be on a quiet machine."
        )
    if missing := [name for name in encoders_in_use(config) if name not in speeds]:
        lines.append(
            f"Not in these: {', '.join(missing)}, whose architecture comes with the weights (`snakemake fetch`)."
        )
    return lines


def duration(seconds: float) -> str:
    """Seconds in minutes or hours."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.0f} min"
