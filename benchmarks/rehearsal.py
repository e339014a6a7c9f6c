"""The default experiment at full size, without network and on two cores: `make rehearsal`, or
python -m benchmarks.rehearsal [--pictures N].

Draws pictures in VLM4Bio's numbers, serves them and tiny models from the stand-in of the hub (tests/hub), fetches everything
as a user does, stops the server, runs config/rehearsal.yaml to its end, and prints what each rule took.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.costs import table
from cladeclip.config.files import merged
from cladeclip.demo.specimens import PATTERNS, Species, draw_individual
from cladeclip.io.atomic import write_text
from cladeclip.random_streams import stream_of
from cladeclip.run import doctor
from cladeclip.run.needs import seconds_of_rules, speed_of_machine
from cladeclip.run.progress import progress

REPOSITORY = Path(__file__).parents[1]
# Species and their numbers of pictures in VLM4Bio's lists, without their names.
SHAPE = Path(__file__).with_name("vlm4bio_shape.csv")
PICTURES, IMAGE_PX, SEED = 31_452, 64, 5
LISTS = {"Fish": "metadata_10k.csv", "Bird": "bird_metadata_10k.csv", "Butterfly": "metadata.csv"}
SYLLABLES = ("ba", "co", "di", "fu", "ga", "le", "mi", "no", "pa", "ru", "si", "ta", "ve", "xo", "zu", "ly")


def invented(number: int, ending: str) -> str:
    """A word for a number, another for each."""
    word = ""
    while number or not word:
        number, rest = divmod(number, len(SYLLABLES))
        word += SYLLABLES[rest]
    return word + ending


def names_of(shape: pd.DataFrame) -> list[str]:
    """A scientific name for each row: a genus alone, a species, a hybrid, or nothing, as the lists have them."""
    names = []
    for row in shape.itertuples():
        genus = (
            ""
            if row.kind == "blank"
            else invented(int(row.genus), {"Fish": "x", "Bird": "nis", "Butterfly": "a"}[row.category])
        )
        epithet = "" if pd.isna(row.species) else invented(int(row.species), "us")
        words = {
            "genus": [genus],
            "species": [genus, epithet],
            "hybrid": [genus, epithet, "x", "hybridus"],
            "blank": [],
        }
        names.append(" ".join(words[row.kind]).capitalize())
    return names


def fewer(shape: pd.DataFrame, pictures: int) -> pd.DataFrame:
    """The same tail with about as many pictures: of the species in turn, as long as there is room; two at least of each."""
    if pictures >= shape["pictures"].sum():
        return shape
    share = pictures / shape["pictures"].sum()
    few = shape.assign(pictures=(shape["pictures"] * share).clip(lower=2).round().astype(int))
    # The large ones are spread over all categories before the small ones come.
    order = few.groupby("category").cumcount().argsort(kind="stable")
    kept = few.iloc[order]
    return kept[kept["pictures"].cumsum() <= pictures].sort_index()


def draw(root: Path, pictures: int, workers: int) -> None:
    """The collection below `root`, in VLM4Bio's layout."""
    shape = fewer(pd.read_csv(SHAPE), pictures)
    shape["name"] = names_of(shape)
    for category in LISTS:
        (root / category / "images").mkdir(parents=True)
        (root / category / "metadata").mkdir()
    with ProcessPoolExecutor(workers) as pool:
        rows = list(shape.reset_index().to_dict(orient="records"))
        files = list(
            progress(pool.map(partial(_draw_species, root=root), rows), total=len(rows), desc="drawing", unit="species")
        )
    listed = pd.DataFrame(
        [
            (row["category"], file, row["name"])
            for row, of_species in zip(rows, files, strict=True)
            for file in of_species
        ],
        columns=["category", "fileNameAsDelivered", "scientificName"],
    )
    for category, of_category in listed.groupby("category"):
        columns = of_category.drop(columns="category").reset_index(drop=True)
        columns.to_csv(root / str(category) / "metadata" / LISTS[str(category)])


def _draw_species(row: dict[str, Any], root: Path) -> list[str]:
    rng = stream_of(SEED, f"{row['category']}/{row['index']}")
    species = Species(
        category=row["category"],
        genus=row["name"].partition(" ")[0],
        name=f"{row['category']} {row['index']}",
        slenderness=float(rng.uniform(0.7, 1.4)),
        tail=float(rng.uniform(0.6, 1.4)),
        hue=float(rng.uniform()),
        saturation=float(rng.uniform(0.55, 0.9)),
        second_hue=float(rng.uniform()),
        pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
        repeats=int(rng.integers(3, 9)),
    )
    files = []
    for individual in range(row["pictures"]):
        picture, _ = draw_individual(species, IMAGE_PX, individual, SEED)
        files.append(f"{row['category']}_{row['index']:03d}_{individual:04d}{'.JPG' if individual % 2 else '.jpg'}")
        picture.save(root / row["category"] / "images" / files[-1], "JPEG", quality=90)
    return files


def pack_birds(root: Path, archive: Path) -> None:
    """The birds as CUB-200-2011 comes."""
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted((root / "Bird" / "images").iterdir()):
            tar.add(path, f"CUB_200_2011/images/{path.stem.rpartition('_')[0]}/{path.name}")


# What users start; and what starts each job warm, so that a small rehearsal is not a matter of imports.
PLAIN = [str(Path(sys.executable).with_name("snakemake"))]
WARM = [sys.executable, "workflow/warm_snakemake.py"]


def snakemake(arguments: list[str], environment: dict[str, str], configs: list[str], program: list[str] = PLAIN) -> str:
    """What Snakemake says; ends the rehearsal where it fails."""
    command = [*program, *arguments, "--configfile", *configs]
    print("$", " ".join(["snakemake", *arguments, "--configfile", *configs]), flush=True)
    start = time.monotonic()
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
    print(f"  {time.monotonic() - start:.0f} s", flush=True)
    if done.returncode:
        sys.exit(done.stdout + f"\nThe rehearsal failed: {' '.join(command)}")
    return done.stdout


def what_doctor_computes(configs: list[str], n: int) -> dict[str, float]:
    """Seconds of each rule, from the speed of this machine and of the encoders that were fetched."""
    config = merged([str(REPOSITORY / file) for file in ("config/config.yaml", *configs)])
    config["weights"], config["dataset"]["root"] = (
        str(REPOSITORY / folder) for folder in (config["weights"], config["dataset"]["root"])
    )
    return seconds_of_rules(config, n, doctor.species(config, n), doctor.speeds(config), speed_of_machine(config))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rehearsal", description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="how many are drawn")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    options = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from hub.client import environment
    from hub.repositories import models, vlm4bio
    from hub.stand_in import Hub

    data, results = REPOSITORY / "data" / "rehearsal", REPOSITORY / "results" / "rehearsal"
    for old in (data, results):
        shutil.rmtree(old, ignore_errors=True)
    configs = ["config/rehearsal.yaml"]
    if options.pictures < PICTURES:  # and as many fewer clusters, and smaller batches for as many steps
        ks = [max(2, k * options.pictures // PICTURES) for k in (100, 500, 1000, 2000)]
        configs.append(str(data / "smaller.yaml"))
        smaller = {"labels": {"k": ks}, "train": {"batch_size": 16}, "report": {"primary": {"k": ks[1]}}}
        write_text(configs[-1], yaml.safe_dump(smaller))
    run = partial(snakemake, configs=configs)
    with tempfile.TemporaryDirectory() as temporary:
        start, drawn = time.monotonic(), Path(temporary, "drawn")
        draw(drawn, options.pictures, options.cores)
        pack_birds(drawn, data / "datasets" / "Bird" / "CUB_200_2011.tgz")
        print(f"drawn in {time.monotonic() - start:.0f} s", flush=True)
        with Hub(vlm4bio(Path(temporary, "hub"), drawn), *models(Path(temporary, "models"))) as hub:
            around = environment(hub, data / "hub-cache")
            run(["fetch", "--cores", "1"], around)
    around |= {"HF_HUB_OFFLINE": "1"}
    computed = what_doctor_computes(configs, options.pictures)
    run(["--cores", str(options.cores)], around, program=WARM if options.pictures < PICTURES else PLAIN)
    if "Nothing to be done" not in run(["-n"], around):
        sys.exit(
            "After the run there is something left to do: snakemake -n --configfile config/rehearsal.yaml says what."
        )
    found = table(results).iloc[:, :5]
    found.insert(3, "s computed before", found["rule"].map(computed).round(0))
    print(found.to_markdown(index=False))
    both = found.dropna()
    print(
        f"{found['s'].sum():,.0f} s of jobs; of the rules that `make doctor` computes {both['s'].sum():,.0f} s, computed "
        f"{both['s computed before'].sum():,.0f} s."
    )


if __name__ == "__main__":
    main()
