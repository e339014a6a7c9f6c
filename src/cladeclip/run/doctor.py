"""Checks a machine, and says what the configured run needs: `make doctor`, or python -m cladeclip.run.doctor [CONFIG ...].

The exit status is 0 as long as the demo can run here, whatever else is missing.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil

from cladeclip.config.check import complete
from cladeclip.config.files import merged
from cladeclip.datasets.addresses import host_of
from cladeclip.datasets.fetch import what_is_there
from cladeclip.datasets.fetch_pictures import wanted_pictures
from cladeclip.datasets.layouts.specs import read_listed
from cladeclip.datasets.listing import files_below
from cladeclip.encoders.hub_sources import HubSource, captioner_source, encoder_source
from cladeclip.encoders.specs import IN_PACKAGE, family_named
from cladeclip.errors import CladeclipError, size_in_words
from cladeclip.names import parse_labels
from cladeclip.plan import Files, cluster_labels, encoders_in_use, models_that_caption

if TYPE_CHECKING:
    from cladeclip.encoders.speed import Speed

# What the demo takes, in GB: results and data, and its largest job with what stands beside it.
DEMO_DISK, DEMO_MEMORY = 0.5, 3
# Pictures of VLM4Bio, as its metadata lists them.
VLM4BIO = 31_452
# And about how many it has of a species.
OF_A_SPECIES = 42
# Bytes of a picture that nobody has seen yet.
OF_A_FETCHED_PICTURE = 500_000
GOOD, NOTE, BAD = "ok  ", "note", "BAD "


def machine() -> Iterator[tuple[str, str]]:
    """(status, sentence) of what is on this machine; BAD is what keeps the demo from running."""
    python = sys.version_info
    yield (
        (GOOD if python >= (3, 11) else BAD),
        f"Python {python.major}.{python.minor}.{python.micro}; 3.11 or newer is needed.",
    )
    free, memory = shutil.disk_usage(".").free / 1e9, psutil.virtual_memory()
    yield (GOOD if free > DEMO_DISK else BAD), f"{free:,.0f} GB of disk are free here; the demo takes {DEMO_DISK} GB."
    available = memory.available / 1e9
    yield (
        (GOOD if available > DEMO_MEMORY else BAD),
        f"{available:,.0f} of {memory.total / 1e9:,.0f} GB of memory are free; the demo takes {DEMO_MEMORY} GB. "
        f"{os.cpu_count()} cores.",
    )
    yield from _libraries()
    yield _slurm()


def _libraries() -> Iterator[tuple[str, str]]:
    try:
        import faiss
        import torch
    except ImportError as error:
        yield BAD, f"{error}; run `make setup`."
        return
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        names = ", ".join(f"{card.name} ({card.total_memory / 1e9:.0f} GB)" for card in cards)
        yield GOOD, f"GPU: {names}; torch {torch.__version__}."
    else:
        yield NOTE, f"No GPU that torch {torch.__version__} can use: the demo and config/mini.yaml do without."
    gpu_build = hasattr(faiss, "StandardGpuResources")
    seen = f"for GPUs, of which it sees {faiss.get_num_gpus()}" if gpu_build else "for CPUs"
    yield GOOD, f"faiss {faiss.__version__}, built {seen}."


def _slurm() -> tuple[str, str]:
    if shutil.which("sbatch") is None:
        return NOTE, "No Slurm here (sbatch); it is only needed for --profile profiles/slurm."
    try:
        said = subprocess.run(["sinfo", "-h", "-o", "%R %G"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return NOTE, "Slurm is installed, but `sinfo` gets no answer from its controller."
    partitions = ", ".join(sorted({" ".join(line.split()) for line in said.stdout.splitlines()}))
    return GOOD, f"Slurm's partitions and GPUs: {partitions}. profiles/slurm/partitions.yaml must name them."


def weights(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Which encoders' weights are there, and what happens with those that are not."""
    for name in encoders_in_use(config):
        definition, folder = config["encoders"][name], Path(config["weights"], name)
        file = definition.get("weights", "")
        shipped = any(str(definition.get(key, "")).startswith(IN_PACKAGE) for key in ("weights", "architecture"))
        if (folder / "encoder.json").is_file():
            yield GOOD, f"{name}: its weights are in {folder}."
        elif not family_named(definition["family"]).architectures or "seed" in definition or shipped:
            yield GOOD, f"{name}: needs no download."
        elif file and not Path(file).is_file():
            yield NOTE, f"{name}: put its weights at {file}, or correct the path in `encoders:`."
        elif file:
            yield GOOD, f"{name}: {file} is there."
        else:
            yield NOTE, f"{name}: {_to_download(encoder_source(definition))}"


def captioners(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Whether the models that write the captions in use are there."""
    for name in models_that_caption(config):
        folder = Path(config["weights"], "captioners", name)
        if (folder / "captioner.json").is_file():
            yield GOOD, f"captioner {name}: its weights are in {folder}."
        else:
            yield NOTE, f"captioner {name}: {_to_download(captioner_source(config['captioners'][name]))}"


def _to_download(source: HubSource | None) -> str:
    if source is None:
        return "will be downloaded; `snakemake fetch` does that beforehand."
    if source.is_cached():
        return f"{source.repository} is in the hub's cache; nothing will be downloaded."
    return f"will be downloaded from {source.repository}; `snakemake fetch` does that beforehand."


def images(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Which pictures are there, where the run fetches them."""
    if config["dataset"]["source"] == "addresses":
        yield from addresses(config)
    if config["dataset"]["source"] != "fetch":
        return
    root = config["dataset"]["root"]
    listed, there, birds = what_is_there(root)
    if not listed:
        yield NOTE, f"VLM4Bio: will be downloaded into {root} (20 GB); `snakemake fetch` does that beforehand."
    else:
        yield (GOOD if there == listed else NOTE), f"VLM4Bio: {there:,} of {listed:,} pictures lie in {root}."
    if birds:
        yield NOTE, birds


def addresses(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is to be fetched from the addresses that the metadata has, and how long the hosts' limits make that."""
    dataset = config["dataset"]
    wanted = wanted_pictures(listed_of(config), dataset["licences"])
    missing = [picture for picture in wanted if not Path(dataset["root"], picture.image_id).is_file()]
    yield (
        (NOTE if missing else GOOD),
        f"{len(wanted) - len(missing):,} of {len(wanted):,} pictures are fetched already.",
    )
    if missing:
        hosts = Counter(host_of(picture.address) for picture in missing)
        hours = max(hosts.values()) / dataset["addresses"]["per_second"] / 3600
        size = size_in_words(len(missing) * OF_A_FETCHED_PICTURE)
        yield (
            NOTE,
            f"The others are fetched from {len(hosts):,} host(s): {hours:.1f} hours or more, some {size} (a guess).",
        )
    if not dataset["addresses"]["contact"].strip():
        yield NOTE, "dataset.addresses.contact is empty: say where the keepers of the hosts reach you."


def listed_of(config: Mapping[str, Any]) -> pd.DataFrame:
    """The pictures that the metadata lists, whether they are there or not."""
    root = config["dataset"]["root"]
    return read_listed(root, files_below(root)[0], config["dataset"])


def needs(config: Mapping[str, Any], n: int, whence: str) -> list[str]:
    """What the run that is configured takes with n pictures: GB on disk, hours on this machine."""
    from cladeclip.run.needs import in_sentences, speed_of_machine

    return in_sentences(config, n, whence, species(config, n), speeds(config), speed_of_machine(config))


def faults(config: Mapping[str, Any], n: int) -> Iterator[str]:
    """What would stop the run with n pictures."""
    if not n:
        yield f"There are no pictures in {config['dataset']['root']}: correct dataset.root, or put them there."
    elif (k := max((parse_labels(name, config["encoders"]).k or 0 for name in cluster_labels(config)), default=0)) > n:
        yield f"labels ask for {k:,} clusters, but there are only {n:,} pictures."


def species(config: Mapping[str, Any], n: int) -> int:
    """How many species n pictures have: counted where the run has listed them, else guessed."""
    images = Path(Files(config).results.table("images"))
    if images.is_file():
        import pyarrow.parquet as pq

        return len(pq.read_table(images, columns=["scientific_name"])["scientific_name"].unique())
    return max(2, n // OF_A_SPECIES)


def pictures(config: Mapping[str, Any]) -> tuple[int, str]:
    """How many pictures the run has, and how that is known."""
    images = Path(Files(config).results.table("images"))
    if images.is_file():
        import pyarrow.parquet as pq

        return pq.read_metadata(images).num_rows, str(images)
    if config["dataset"]["source"] == "addresses":
        return len(listed_of(config)), "listed in the metadata"
    root = config["dataset"]["root"]
    if found := len(files_below(root)[0]):
        return found, f"files below {root}"
    if config["dataset"]["source"] == "draw":
        draw = config["dataset"]["draw"]
        return 9 * draw["species_per_genus"] * draw["images_per_species"], "to be drawn"
    if config["dataset"]["source"] == "fetch":
        return VLM4BIO, "VLM4Bio, to be downloaded"
    return 0, ""


def speeds(config: Mapping[str, Any]) -> dict[str, "Speed"]:
    """The speed of each encoder here; without those of which only a download can tell it."""
    import torch

    from cladeclip.encoders.speed import speed_of

    torch.set_num_threads(config["embed"]["threads"])
    found = {
        name: speed_of(name, config["encoders"][name], Path(config["weights"], name), config["embed"]["precision"])
        for name in encoders_in_use(config)
    }
    return {name: speed for name, speed in found.items() if speed is not None}


def main(files: list[str]) -> int:
    here = list(machine())
    print("This machine")
    for status, sentence in here:
        print(f"  {status}  {sentence}")
    demo = all(status != BAD for status, _ in here)
    files = [file for file in files if file != "config/config.yaml"]
    print(f"\nThe run of config/config.yaml{''.join(f' and {file}' for file in files)}")
    try:
        config = merged(["config/config.yaml", *files])
        complete(config)
        for status, sentence in [*weights(config), *captioners(config), *images(config)]:
            print(f"  {status}  {sentence}")
        n, whence = pictures(config)
        stops = list(faults(config, n))
        if not stops:
            print("  Measuring the encoders' speed: with large ones that takes a minute.", flush=True)
            print("\n".join(f"  {line}" for line in needs(config, n, whence)))
    except CladeclipError as error:
        stops = [str(error)]
    for sentence in stops:
        print(f"  {BAD}  {sentence}")
    if stops:
        print("\nThis run cannot be done before what is BAD above is mended.")
    print("\nThe demo can run: make demo" if demo else "\nThe demo cannot run before what is BAD above is mended.")
    return 0 if demo else 1


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # open_clip's, that a network has no weights
    sys.exit(main(sys.argv[1:]))
