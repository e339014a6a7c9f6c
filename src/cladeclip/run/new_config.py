"""Looks at a folder or table of pictures and writes a config for it: `make new NAME=mine DATA=FOLDER`."""

import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cladeclip.config.check import complete
from cladeclip.config.files import merged, update
from cladeclip.datasets.guess import guess_dataset, problems
from cladeclip.datasets.layouts.dwca import describe as describe_archive
from cladeclip.datasets.layouts.dwca import read_archive
from cladeclip.datasets.layouts.specs import LAYOUTS, read_listed
from cladeclip.datasets.listing import files_below
from cladeclip.datasets.naming import KINDS, kinds_beside_species, merged_names, name_pictures, some
from cladeclip.datasets.specimens import together
from cladeclip.errors import CladeclipError, ConfigError
from cladeclip.io.atomic import write_text
from cladeclip.names import NAME
from cladeclip.ranks import HIGHER_RANKS

# The files of config/ that are not its user's.
SHIPPED = ("config", "demo", "mini", "rehearsal", "ways")
# Fewer pictures than these cannot be clustered and trained on in any useful way.
FEWEST = 10
WHO = (
    "  at dataset.addresses.contact say where the keepers of the hosts reach you (an e-mail address or a page);\n"
    "  dataset.licences: [cc0, cc-by] would leave out pictures of other licences"
)
TEXT = """\
# Written by `make new`: {pictures:,} pictures of {species:,} species. Change what you like; config/config.yaml has a comment
# on every key. What is not named here is as in the file before it in the command:
#
#   {command}
#
# config/mini.yaml has settings for two cores without a GPU: an ImageNet CNN as the teacher and a small student that starts
# from random weights. Leave it out on a machine with a GPU: config/config.yaml alone has ViT-H/14 as the teacher, CLIP
# ViT-B/32 as the student, five other encoders to compare with, and captions by InternVL, all downloaded at first.
{dataset}
labels:
  # Numbers of clusters: about half, as many, and twice as many as there are species.
  k: {k} # report.primary.k, below, must be one of them
  controls: [species, random-k{middle}] # labels that clusters can hardly beat, and labels without meaning

# {split_note}
splits: {splits}

report:
  title: "{name}: which number of clusters tells the species apart?"
  # The comparison that decides which model is best, chosen before any result was seen.
  primary: {{ k: {middle}, column: species, taxa: All, measure: accuracy_individual, split: holdout-0 }}
"""


def command(path: Path) -> str:
    return f".venv/bin/snakemake --cores all --configfile config/mini.yaml {path}"


def config_text(name: str, dataset: dict[str, Any], listed: pd.DataFrame, path: Path) -> str:
    """The commented config of a dataset whose pictures are `listed`, with normalised names."""
    species = listed.loc[listed["scientific_name"] != "", "scientific_name"]
    n = species.nunique()
    # So few clusters that they have two pictures on average, of the 60 % that an open split is fitted on.
    most = max(2, int(0.6 * len(species) / 2))
    k = sorted({min(most, max(2, value)) for value in (n // 2, n, 2 * n)})
    middle = min(most, max(2, n))
    several = listed.groupby("category")["scientific_name"].nunique().min() >= 4
    note = "holdout-0 asks about pictures that were never fitted"
    note += ", open-0 about whole species that were never fitted." if several else "."
    return TEXT.format(
        pictures=len(listed),
        species=n,
        command=command(path),
        dataset=yaml.safe_dump({"dataset": {"name": name, **dataset}}, sort_keys=False, allow_unicode=True),
        k=k,
        middle=middle,
        split_note=note,
        splits="[holdout-0, open-0]" if several else "[holdout-0]",
        name=name,
    )


def describe(dataset: dict[str, Any], listed: pd.DataFrame, names: pd.DataFrame, paths: list[str]) -> list[str]:
    """What was found, in lines for the terminal."""
    layout = dataset["layout"]
    lines = [f"{dataset['root']}: {LAYOUTS[layout].words} (layout {layout})."]
    if layout == "table":
        columns = dataset["table"]["columns"]
        named = "".join(f", {key} in column '{column}'" for key, column in columns.items())
        lines.append(f"  table {dataset['table']['file']}{named}")
    if layout == "dwca":
        archive = Path(dataset["root"], dataset["dwca"]["archive"])
        lines += [f"  archive {archive}", *describe_archive(read_archive(archive))]
    labels = listed.loc[listed["scientific_name"] != "", "scientific_name"]
    per_species, genera = labels.value_counts(), listed.loc[listed["genus"] != "", "genus"]
    lines.append(f"  {len(listed):,} pictures are listed")
    lines.append(f"  {len(per_species):,} species, {per_species.min():,} to {per_species.max():,} pictures each")
    lines.append(f"  {genera.nunique():,} genera")
    for rank in (rank for rank in HIGHER_RANKS if rank in listed):
        lines.append(f"  {listed[rank].replace('', pd.NA).nunique():,} values of {rank}")
    counts = listed["category"].value_counts()
    shown = ", ".join(f"{category} {count:,}" for category, count in counts.head(8).items())
    lines.append(f"  {len(counts):,} categories: {shown}{', ...' if len(counts) > 8 else ''}")
    if "specimen" in listed:
        n_specimens = len(set(together(list(listed["image_id"]), list(listed["specimen"]))))
        lines.append(f"  {n_specimens:,} specimens; pictures of one never stand on both sides of a split")
    lines += what_names_say(names)
    found = problems(listed, paths)
    lines += ["Worth a look:", *(f"  {count:,} {phrase}" for phrase, count in found.items())] if found else []
    return lines


def what_names_say(names: pd.DataFrame) -> list[str]:
    """What became of the names (the `names` table) that are not two words as they stand, in lines for the terminal."""
    lines = [f"  {n:,} pictures: {KINDS[kind]}: {written}" for kind, n, written in kinds_beside_species(names)]
    for label, spellings in merged_names(names):
        lines.append(f"  {label}: written as {some(spellings['name_as_written'])}")
    return ["Names:", *lines] if lines else []


def new_config(name: str, data: str, folder: Path = Path("config")) -> list[str]:
    """Writes `folder`/{name}.yaml and returns what there is to say about it.

    Raises:
        CladeclipError: the name cannot be one, the file exists, or the pictures' arrangement is not known.
    """
    path = folder / f"{name}.yaml"
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"NAME={name}: a name has small letters, digits and hyphens, such as my-fish.")
    if name in SHIPPED:
        raise ConfigError(f"NAME={name}: {path} is a config of CladeCLIP itself; take another NAME, such as my-fish.")
    if path.exists():
        raise ConfigError(f"{path}: is there already; take another NAME, or remove it.")
    dataset, faults = guess_dataset(Path(data).expanduser(), fetched_to=f"data/{name}")
    paths, others = files_below(dataset["root"], tables=True)
    listed = read_listed(dataset["root"], paths, dataset)
    if listed.empty:
        raise ConfigError(f"{data}: lists no picture.")
    if len(listed) < FEWEST:
        raise ConfigError(
            f"{data}: lists {len(listed)} picture(s); {FEWEST} are the fewest to cluster and to learn from."
        )
    listed, names = name_pictures(listed)
    text = config_text(name, dataset, listed, path)
    config = merged([folder / "config.yaml", folder / "mini.yaml"])
    update(config, yaml.safe_load(text))
    complete(config)
    write_text(path, text)
    return [
        *describe(dataset, listed, names, list(paths["path"])),
        *(["Not used:"] if faults or others else []),
        *(f"  {count:,} file(s) {suffix}: neither pictures nor tables" for suffix, count in others.most_common()),
        *(f"  {fault}" for fault in faults),
        f"Written: {path}. Look at it, then:",
        *([WHO] if dataset["source"] == "addresses" else []),
        f"  {command(path)}",
    ]


if __name__ == "__main__":
    try:
        print("\n".join(new_config(sys.argv[1], sys.argv[2])))
    except CladeclipError as error:
        sys.exit(f"\n{error}\n")
