"""Compares what the config assumes of the model hub with what lies there: `make check-hub`, or
python -m cladeclip.run.check_hub [CONFIG ...].

It asks for every repository, revision, file name and licence, and downloads configs, tokenizers and lists alone (30 MB).
The exit status is 1 where something differs.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cladeclip.captioning.specs import kind_named
from cladeclip.config.check import complete
from cladeclip.config.files import merged
from cladeclip.datasets.fetch import FOLDER, in_layout, is_metadata
from cladeclip.datasets.layouts.vlm4bio import read_metadata
from cladeclip.encoders.hub_sources import AROUND, HubSource, captioner_source, encoder_source
from cladeclip.encoders.specs import family_named
from cladeclip.errors import CladeclipError, first_line, size_in_words
from cladeclip.hub import Repository, bring, look_up
from cladeclip.io.atomic import read_json
from cladeclip.plan import encoders_in_use, models_that_caption

SAME, DIFFERS = "same   ", "DIFFERS"
# Pictures that VLM4Bio lists.
LISTED = 31_452
Finding = tuple[str, str]


def check(config: Mapping[str, Any]) -> Iterator[Finding]:
    """(SAME or DIFFERS, sentence) of everything that a run of this config takes from the hub."""
    for name in encoders_in_use(config):
        definition = config["encoders"][name]
        if source := encoder_source(definition):
            yield from _with_sentences(f"encoder {name}", _encoder(name, definition, source))
    for name in models_that_caption(config):
        definition = config["captioners"][name]
        if source := captioner_source(definition):
            yield from _with_sentences(f"captioner {name}", _captioner(name, definition, source))
    if config["dataset"]["source"] == "fetch":
        yield from _with_sentences("pictures", _pictures(**config["dataset"]["fetch"]))


def _with_sentences(what: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    try:
        for status, sentence in findings:
            yield status, f"{what}: {sentence}"
    except (CladeclipError, OSError, ValueError) as error:
        yield DIFFERS, f"{what}: {first_line(error)}"


def _repository(source: HubSource, licence: str | None) -> Iterator[Finding]:
    """Whether the repository is there, with the weights and the licence that are assumed."""
    found = look_up(source.repository, source.revision)
    yield SAME, f"{found.name} at {source.revision} is commit {found.commit}"
    files = {file: found.files[file].size for file in source.choose(list(found.files))}
    listed = ", ".join(f"{file} ({size_in_words(size)})" for file, size in files.items())
    yield SAME, f"it has {listed}"
    if licence is None:
        yield DIFFERS, f"the config gives no licence; its page says {found.licence}"
    else:
        same = licence == found.licence
        yield (SAME if same else DIFFERS), f"licence {found.licence}" + ("" if same else f", in the config {licence}")


def _encoder(name: str, definition: Mapping[str, Any], source: HubSource) -> Iterator[Finding]:
    yield from _repository(source, definition.get("licence"))
    found = look_up(source.repository, source.revision)
    with tempfile.TemporaryDirectory() as folder:
        family = family_named(definition["family"])
        if hasattr(family.code(), "differences") and family.files[0] in found.files:
            bring(found, family.files[:1], folder)
            for same, sentence in family.code().differences(definition, read_json(Path(folder, family.files[0]))):
                yield (SAME if same else DIFFERS), sentence


def _captioner(name: str, definition: Mapping[str, Any], source: HubSource) -> Iterator[Finding]:
    yield from _repository(source, definition.get("licence"))
    around = HubSource(source.repository, source.revision, (), AROUND)
    with tempfile.TemporaryDirectory() as folder:
        around.bring(folder)
        yield SAME, kind_named(definition["kind"]).code().try_files(folder, definition)


def _pictures(repository: str, revision: str) -> Iterator[Finding]:
    found = look_up(repository, revision, "dataset")
    yield (
        SAME,
        f"{repository} at {revision} has {len(found.files):,} files below {FOLDER}/ and beside it; licence {found.licence}",
    )
    with tempfile.TemporaryDirectory() as folder:
        lists = [file for file in found.files if is_metadata(file)]
        bring(found, lists, folder)
        listed = read_metadata(Path(folder, FOLDER))
    n = len(listed)
    yield (
        (SAME if n == LISTED else DIFFERS),
        f"{n:,} pictures are listed" + ("" if n == LISTED else f", not {LISTED:,}"),
    )
    yield from _listed_and_there(found, listed)


def _listed_and_there(found: Repository, listed: Any) -> Iterator[Finding]:
    there = {in_layout(file) for file in found.files if file.startswith(f"{FOLDER}/")}
    for category, rows in listed.groupby("category"):
        present = sum(image_id in there for image_id in rows["image_id"])
        # The birds are CUB-200-2011's, and are fetched from there.
        expected = 0 if category == "Bird" else len(rows)
        said = f"{present:,} of the {len(rows):,} pictures listed for {category} are there"
        yield (SAME if present == expected else DIFFERS), said + ("" if present == expected else f", not {expected:,}")


def main(files: list[str]) -> int:
    config = merged(["config/config.yaml", *files])
    complete(config)
    differs = 0
    for status, sentence in check(config):
        print(f"{status}  {sentence}", flush=True)
        differs += status == DIFFERS
    print(f"\n{differs} things differ from what the config assumes." if differs else "\nAll is as the config assumes.")
    return int(differs > 0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CladeclipError as error:
        sys.exit(str(error))
