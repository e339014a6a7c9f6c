"""The model card of a trained encoder: what it is, how it was made, how well it does, and how to load it.

In the form that the Hugging Face hub reads: Markdown after a block of YAML (huggingface.co/docs/hub/model-cards).
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cladeclip import __version__
from cladeclip.encoders.weights import family_of
from cladeclip.evaluation.measures import MEASURES
from cladeclip.io.atomic import atomic_path, read_json, sha256_of_file, write_text
from cladeclip.io.parquet import read_table
from cladeclip.names import ControlLabels, Model, parse_labels, teachers_labels
from cladeclip.reporting.credits import Licences, licences_of
from cladeclip.reporting.words import describe_labels
from cladeclip.tables import ACCURACY, IMAGES, SPLIT


@dataclass(frozen=True)
class Sources:
    """Where the card's facts are read.

    Attributes:
        checkpoint: folder of the trained student.
        accuracy, before: the `accuracy` tables of the trained student and of the same student untrained.
        qualities: of the labels, or of the clusters that they are made of; none of distillation.
        images, split: the tables of the data set.
    """

    checkpoint: Path
    accuracy: Path
    before: Path
    qualities: list[Path]
    images: Path
    split: Path


def write_release(
    folder: str | Path,
    model: Model,
    split: str,
    sources: Sources,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Copies a checkpoint's files to `folder` and writes README.md, the card, last.

    Args:
        settings: the config's `train:`, as it was trained.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(file for file in sources.checkpoint.iterdir() if file.is_file() and not file.name.startswith("."))
    for file in files:
        # Copied and not linked: a link would share the checkpoint's time, by which Snakemake judges it.
        with atomic_path(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)
    hashes = {file.name: sha256_of_file(folder / file.name) for file in files}
    write_text(folder / "README.md", model_card(model, split, sources, config, settings, hashes))


def model_card(
    model: Model,
    split: str,
    sources: Sources,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    hashes: Mapping[str, str],
) -> str:
    """The card as Markdown; `hashes` are the sha256 of the files beside it."""
    family = family_of(sources.checkpoint)
    student = config["encoders"][model.student]
    licence = student.get("licence")
    head = {
        "license": licence or "other",
        "library_name": family.name,
        "pipeline_tag": "image-feature-extraction",
        "tags": ["biology", "image-feature-extraction", "unicom", "cladeclip"],
    }
    if not licence:
        head["license_name"] = "not-stated"
    labels = parse_labels(model.labels, config["encoders"])
    taught = f"{describe_labels(labels)} (`{labels}`)"
    if isinstance(labels, ControlLabels):
        taught += f", {read_json(sources.qualities[0])['n_labels']} classes"
    else:
        if found := teachers_labels(labels):
            taught += f"; the teacher is {_title(config, found.teacher)}"
        taught += "".join(map(_agreement, map(read_json, sources.qualities)))
    images, part_of = read_table(sources.images, IMAGES), read_table(sources.split, SPLIT).set_index("image_id")["part"]
    parts = part_of.value_counts()
    fitted = images[images["image_id"].map(part_of) == "fit"]
    seen = "every picture was also seen in training (transductive)" if split == "all" else _parts(parts)
    return f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---

# {model}

{_title(config, model.student)}, trained further by cluster discrimination (the UNICOM method): a classification head on the
unit sphere learns the labels below, and is thrown away; the encoder is the product. Made with CladeCLIP {__version__}.

## How to load it

```python
{family.loading}
```

{family.note}

## What it learned

- Data: `{config["dataset"]["name"]}`, {len(images)} pictures of {images["scientific_name"].nunique()} species in
  {images["genus"].replace("", None).nunique()} genera; {int(parts.get("fit", 0))} of them were fitted (split `{split}`).
- Labels: {taught}.
- Seed {model.seed}. Settings:

```yaml
{yaml.safe_dump(dict(settings), sort_keys=True).strip()}
```

## How well it does

Right answers in percent when a query picture is named by the labelled gallery pictures in four ways, in brackets the same
student before training. Split `{split}`: {seen}.

{_accuracy_table(read_table(sources.accuracy, ACCURACY), read_table(sources.before, ACCURACY))}

These are the figures of one data set and one training; `comparison.csv` of the run has those of every other model.

## Licence

{_licence(config, model.student, licence)} {_licences_of_pictures(licences_of(fitted))}

## Files

| file | sha256 |
|---|---|
{chr(10).join(f"| `{name}` | `{digest}` |" for name, digest in hashes.items())}
"""


def _agreement(quality: Mapping[str, Any]) -> str:
    """How clusters (k-means) agree with the names."""
    said = f"; {quality['k']} clusters have, against species, NMI {quality['species']['nmi']:.3f} and purity "
    said += f"{quality['species']['purity']:.3f}"
    return said + (f", against genera NMI {quality['genus']['nmi']:.3f}" if "genus" in quality else "")


def _title(config: Mapping[str, Any], encoder: str) -> str:
    title = config["encoders"][encoder].get("title")
    return f"{title} (`{encoder}`)" if title else f"`{encoder}`"


def _parts(parts: pd.Series) -> str:
    said = [f"{int(parts[name])} {words}" for name, words in PARTS.items() if name in parts]
    return "; ".join(said)


PARTS = {
    "fit": "pictures fitted",
    "query": "held out as queries",
    "validate": "kept to choose by",
    "unseen": "of species that were never fitted",
}


def _licence(config: Mapping[str, Any], student: str, licence: str | None) -> str:
    if licence:
        return f"The student's weights have the licence `{licence}`, which this encoder inherits."
    if "seed" in config["encoders"][student]:
        return (
            "The student started from random weights: the licence is yours to choose; write it at the top of this card."
        )
    return (
        f"The config does not state the licence of the student's weights (`licence` of `{student}` in `encoders:`). Look it "
        "up before you publish this encoder: it inherits it."
    )


def _licences_of_pictures(licences: Licences | None) -> str:
    said = "The pictures that it was trained on have licences of their own"
    if licences is None:
        return f"{said}, of which the data says nothing."
    whose = "`credits.csv` of the run names their holders"
    return f"{said} ({licences}); the strictest is {licences.strictest}; {whose}."


def _accuracy_table(accuracy: pd.DataFrame, before: pd.DataFrame) -> str:
    rows = accuracy.merge(before, on=["taxa", "column"], suffixes=("", "_before"))
    lines = [f"| taxa | rank | {' | '.join(MEASURES)} | queries |", "|" + "---|" * (3 + len(MEASURES))]
    for row in rows.to_dict(orient="records"):
        cells = [f"{100 * row[column]:.2f} ({100 * row[f'{column}_before']:.2f})" for column in MEASURES]
        lines.append(f"| {row['taxa']} | {row['column']} | {' | '.join(cells)} | {row['n_query']} |")
    return "\n".join(lines)
