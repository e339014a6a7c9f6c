"""Every definition of the package is changed in turn: what becomes stale is held against what a run's jobs really call.

As a program (with tests, tests/workflow and workflow on PYTHONPATH), it prints how much becomes stale.
"""

import ast
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from conftest import REPOSITORY
from traced_snakemake import CALLED

from cladeclip.captioning.specs import kind_named
from cladeclip.datasets.layouts.specs import layout_named
from cladeclip.encoders.specs import family_named
from cladeclip.names import ControlLabels
from cladeclip.run import fingerprint
from cladeclip.run.staleness import DOORS, code_of_script
from cladeclip.training.specs import chosen_places

FOLDER = REPOSITORY / "workflow" / "scripts"
SCRIPTS = sorted(FOLDER.glob("*.py"))
SOURCE = REPOSITORY / "src" / "cladeclip"
# The families of tiny.yaml's encoders.
FAMILIES = frozenset(("open_clip", "timm", "handcrafted"))
# What its config chooses by name, by the script that enters it; of captioners that are fetched it has none.
CHOSEN = {
    "prepare": [layout_named("vlm4bio").door("read")],
    "caption": [kind_named("template").door("captions")],
    "fetch_captioner": [kind_named("internvl").door("fetch")],
    "train": chosen_places(ControlLabels("species"), "arcface"),
    "lr_range": chosen_places(ControlLabels("species"), "arcface"),
}


class Definition(NamedTuple):
    """A function, class or constant at the top of a module."""

    file: str
    kind: str
    name: str
    first: int
    last: int


KINDS = {ast.FunctionDef: "function", ast.ClassDef: "class", ast.Assign: "constant", ast.AnnAssign: "constant"}


def names_of(node: ast.stmt) -> list[str]:
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    assigned = [one.id for target in targets if target for one in ast.walk(target) if isinstance(one, ast.Name)]
    return [node.name] if hasattr(node, "name") else assigned


def definitions(file: Path) -> Iterator[Definition]:
    for node in ast.parse(file.read_text()).body:
        kind = KINDS.get(type(node), "")
        for name in names_of(node) if kind else ():
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            yield Definition(str(file.relative_to(SOURCE)), kind, name, first, node.end_lineno)


def edited(source: str, definition: Definition) -> str:
    """The module with something changed inside the definition, and nothing elsewhere."""
    tree = ast.parse(source)
    for node in tree.body:
        if definition.name not in names_of(node):
            continue
        if hasattr(node, "name"):
            node.body.append(ast.Pass())
        else:
            node.value = ast.Subscript(ast.Tuple([node.value], ast.Load()), ast.Constant(0), ast.Load())
    return ast.unparse(ast.fix_missing_locations(tree))


def named_by_config(module: str) -> Iterator[str]:
    """The modules that one with this dotted name, or a script with this stem, imports when it runs."""
    if module in {door for door, _ in DOORS}:
        yield from (family_named(family).module for family in FAMILIES)
    yield from (place.partition(":")[0] for place in CHOSEN.get(module, ()))


def modules_imported(script: Path) -> set[str]:
    """The files of the package that a script imports, directly or not: what made it stale once."""
    found: set[str] = set()
    waiting = [(script.stem, script)]
    while waiting:
        module, path = waiting.pop()
        dotted = list(named_by_config(module))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cladeclip."):
                dotted += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for one in dotted:
            path = SOURCE.joinpath(*one.split(".")[1:]).with_suffix(".py")
            if path.is_file() and str(path.relative_to(SOURCE)) not in found:
                found.add(str(path.relative_to(SOURCE)))
                waiting.append((one, path))
    return found


def codes(families: frozenset[str]) -> dict[str, str]:
    for kept in (fingerprint.definitions_of, fingerprint.source_of, code_of_script):
        kept.cache_clear()
    chosen = {script: tuple(CHOSEN.get(script.stem, ())) for script in SCRIPTS}
    return {script.stem: code_of_script(script, families, chosen[script]) for script in SCRIPTS}


def stale_by_edit(package: Path, families: frozenset[str]) -> dict[Definition, set[str]]:
    """Which scripts become stale by an edit of each definition, in a copy of the package."""
    before, found = codes(families), {}
    for file in sorted(SOURCE.rglob("*.py")):
        path = package / file.relative_to(SOURCE)
        source = path.read_text()
        for definition in definitions(file):
            path.write_text(edited(source, definition))
            after = codes(families)
            found[definition] = {name for name in after if after[name] != before[name]}
        # Reformatted, and nothing else.
        path.write_text(ast.unparse(ast.parse(source)))
        assert codes(families) == before, file
        path.write_text(source)
    return found


@pytest.fixture(scope="module")
def stale():
    with TemporaryDirectory() as folder:
        package = Path(folder, "cladeclip")
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        patch = pytest.MonkeyPatch()
        patch.setattr(fingerprint, "PACKAGE", package)
        yield stale_by_edit(package, FAMILIES)
        patch.undo()
        codes(FAMILIES)


def called_in(checkout) -> dict[str, set[Definition]]:
    """The definitions whose functions each script called when the run was made."""
    # Constants may call when their module is imported, whether or not they are used.
    by_file = {file: [one for one in definitions(file) if one.kind != "constant"] for file in SOURCE.rglob("*.py")}
    found = defaultdict(set)
    for line in (checkout.folder / CALLED).read_text().splitlines():
        script, path, first = line.split("\t")
        file = SOURCE / path.rpartition("/src/cladeclip/")[2]
        if file.suffix == ".py":
            found[script.removesuffix(".py")].update(
                one for one in by_file[file] if one.first <= int(first) <= one.last
            )
    return found


def decides(definition: Definition) -> bool:
    """Whether it decides what a file holds, and does not only tell of it or carry it."""
    module = "cladeclip." + definition.file.removesuffix(".py").replace("/", ".")
    carriers = {*fingerprint.CARRIERS, ("cladeclip.io.atomic", "_remove_what_the_killed_left")}
    return module not in fingerprint.APART and (module, definition.name) not in carriers


def test_nothing_stays_fresh_whose_code_was_changed(checkout, stale):
    called = called_in(checkout)
    assert {"prepare", "caption", "embed", "cluster", "train", "evaluate", "report"} <= set(called)
    fresh = [
        (script, *definition[:3])
        for script, held in called.items()
        for definition in held
        if decides(definition) and script not in stale[definition]
    ]
    assert fresh == []


def test_nothing_becomes_stale_that_does_not_import_what_was_changed(stale):
    imported = {script.stem: modules_imported(script) for script in SCRIPTS}
    wrong = [
        (definition[:3], script)
        for definition, scripts in stale.items()
        for script in scripts
        if definition.file not in imported[script]
    ]
    assert wrong == []


def test_an_edit_makes_less_than_half_as_much_stale_as_by_module(stale):
    for kind, n, before, after in rows(stale):
        assert n > 50
        assert after < 0.5 * before, kind


def rows(stale: dict[Definition, set[str]]) -> Iterator[tuple[str, int, float, float]]:
    """By kind of edit: how many, and the mean number of stale scripts by module and by definition."""
    imported = [modules_imported(script) for script in SCRIPTS]
    for kind in ("function", "class", "constant", "all"):
        chosen = [definition for definition in stale if kind in (definition.kind, "all")]
        before = sum(definition.file in files for definition in chosen for files in imported) / len(chosen)
        after = sum(len(stale[definition]) for definition in chosen) / len(chosen)
        yield kind, len(chosen), before, after


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        fingerprint.PACKAGE = Path(shutil.copytree(SOURCE, Path(folder, "cladeclip")))
        print("| an edit of each | edits | stale scripts, by module | by definition | share |\n|---|---|---|---|---|")
        for kind, n, before, after in rows(stale_by_edit(fingerprint.PACKAGE, FAMILIES)):
            print(f"| {kind} | {n} | {before:.2f} | {after:.2f} | {after / before:.2f} |")
