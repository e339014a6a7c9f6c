"""What code a result really depends on: a hash of a script and of every definition of this package that it reaches.

A definition is a function, class or constant at the top of a module. It reaches what it names: definitions of its module,
and of those that it imports. Statements at the top of a module that define nothing belong to whatever reaches the module. So
a new column of the evaluation makes no embedding stale, while an edit of the margin makes checkpoints stale.

Syntax trees are hashed without what does not affect results: comments, docstrings, annotations of functions, log calls, and
the messages of the package's errors, which end a job. What a file holds is cached by the hash of its bytes: parsing every
file anew took half of the time of a plan.
"""

import ast
import hashlib
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

from cladeclip.io.atomic import read_json, write_json

PACKAGE = Path(__file__).parents[1]
# In the folder that a command is started in, beside Snakemake's own records. Keys are hashes of what the entry follows from.
MEMORY = Path(".snakemake/cladeclip-fingerprints.json")
# Syntax trees differ between versions of Python, and what is made of them with this file.
READER = hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes()).hexdigest()
# The statements of a module that define nothing, all that it holds, and the bytes of its file.
STATEMENTS, WHOLE, FILE = "", "*", "__file__"
ERRORS = "cladeclip.errors"
# Modules that do not affect the contents of results: errors, logs, progress, what describes config keys, and the registry.
APART = frozenset(
    (ERRORS, "cladeclip.config.described", "cladeclip.run.job_log", "cladeclip.run.progress", "cladeclip.registry")
)
# Definitions that do not affect contents, with those that they reach which do: atomic writes, downloads (compared with the
# hub's hashes), and registries, of which each job knows its own entry (`run/staleness.py`).
CARRIERS = {
    ("cladeclip.io.atomic", "atomic_path"): [],
    ("cladeclip.hub", "snapshot"): [("cladeclip.hub", "Snapshot")],
    ("cladeclip.encoders.specs", "family_named"): [],
    ("cladeclip.encoders.specs", "FAMILIES"): [],
    ("cladeclip.captioning.specs", "kind_named"): [],
    ("cladeclip.datasets.layouts.specs", "layout_named"): [],
    ("cladeclip.training.losses", "loss_named"): [],
    ("cladeclip.training.specs", "loss_place"): [],
    # Its values are params of the rules.
    ("cladeclip.config.sections", "Train"): [],
}
LEVELS = frozenset(("debug", "info", "warning", "error", "exception"))

# A module and a name in it.
Place = tuple[str, str]
# What a module holds: under each name its digest, and the places that it reaches.
Definitions = dict[str, tuple[str, list[Place]]]


def fingerprint_of(*roots: str | Path, without: Iterable[str] = ()) -> str:
    """The fingerprint (16 hex digits) of some code and of all that it reaches.

    Args:
        roots: paths of scripts, and definitions as `cladeclip.module:name`.
        without: definitions that are known not to run, with what only they reach.

    Raises:
        LookupError: there is no such definition.
    """
    # By module and name, not by path: the same code in another folder has the same fingerprint.
    digests = (f"{module} {name} {digest}" for (module, name), digest in reached_by(*roots, without=without).items())
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:16]


def reached_by(*roots: str | Path, without: Iterable[str] = ()) -> dict[Place, str]:
    """The digests of all definitions that `fingerprint_of` these covers, by module (empty for scripts) and name."""
    found: dict[Place, str] = {}
    seen = set(map(_place_of, without))
    waiting: list[Place] = []
    for root in roots:
        if isinstance(root, str) and ":" in root:
            waiting.append(_place_of(root))
            continue
        for name, (digest, reached) in definitions_of(Path(root), "").items():
            found["", f"{Path(root).name} {name}"] = digest
            waiting += reached
    while waiting:
        place = waiting.pop()
        module, name = place
        path = source_of(module)
        if path is None or place in seen or module in APART:
            continue
        seen.add(place)
        held = definitions_of(path, module)
        if name == WHOLE:
            waiting += [(module, one) for one in held]
        elif name == FILE:
            found[place] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif place in CARRIERS:
            waiting += CARRIERS[place]
        elif name in held:
            found[place], reached = held[name]
            waiting += reached
        # Importing a module runs its statements, and those of the packages around it.
        waiting += [(module, STATEMENTS), (module.rpartition(".")[0], STATEMENTS)]
    return found


def _place_of(definition: str) -> Place:
    module, _, name = definition.partition(":")
    path = source_of(module)
    if path is None or name not in definitions_of(path, module):
        raise LookupError(f"{definition}: no such definition")
    return module, name


# What the files hold that this process asked about, by the module's name and the hash of their bytes.
_in_use: dict[str, Definitions] = {}


@cache
def _remembered() -> dict[str, Definitions]:
    """The same of the last command that read a new file."""
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        memory = read_json(MEMORY)
        if memory["reader"] == READER:
            return {
                key: {name: (digest, [(one[0], one[1]) for one in reached]) for name, (digest, reached) in held.items()}
                for key, held in memory["files"].items()
            }
    return {}


def remember(*roots: str | Path) -> None:
    """Saves what these reach, and what else was read, for the next command.

    If the folder is read-only, that command takes half a second longer.
    """
    for root in roots:
        reached_by(root)
    if _in_use != _remembered():
        with suppress(OSError):
            write_json(MEMORY, {"reader": READER, "files": _in_use})


@cache
def definitions_of(path: Path, module: str) -> Definitions:
    """What a file holds; `module` is its dotted name, empty for a script."""
    source = path.read_bytes()
    key = f"{module} {hashlib.sha256(source).hexdigest()}"
    _in_use[key] = _in_use.get(key) or _remembered().get(key) or _read(source, module)
    return _in_use[key]


@cache
def source_of(dotted: str) -> Path | None:
    """The file of a module of this package; None for what is none, and for the package itself."""
    package, *rest = dotted.split(".")
    if package != "cladeclip" or not rest:
        return None
    below = PACKAGE.joinpath(*rest)
    return next((path for path in (below.with_suffix(".py"), below / "__init__.py") if path.is_file()), None)


def _read(source: bytes, module: str) -> Definitions:
    tree = ast.parse(source)
    imports = _imports(node for statement in tree.body if not _is_code(statement) for node in ast.walk(statement))
    kept = _Computing({name for name, (place, _) in imports.items() if place == ERRORS})
    by_name: dict[str, list[ast.stmt]] = {STATEMENTS: []}
    for statement in map(kept.visit, tree.body):
        if statement is None or isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        for name in _names_bound(statement) or [STATEMENTS]:
            by_name.setdefault(name, []).append(statement)
    # What an import binds is a definition as well: what it names may change, and others may take it from here.
    found: Definitions = {}
    for name, (place, what) in _bindings(tree.body):
        reached = [(f"{place}.{what}", STATEMENTS)] if source_of(f"{place}.{what}") else [(place, what)]
        found[name] = f"{place} {what}", reached if place.split(".")[0] == "cladeclip" else []
    own = {*by_name, *found}
    for name, statements in by_name.items():
        digest = hashlib.sha256("\n".join(map(ast.dump, statements)).encode()).hexdigest()
        # What is imported at the top runs with the module.
        runs = _modules(imports) if name == STATEMENTS else ()
        found[name] = digest, sorted({*_reached(statements, module, imports, own), *runs})
    return found


def _names_bound(statement: ast.stmt) -> list[str]:
    """What a statement defines; nothing where it also does something else."""
    if _is_code(statement):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [node for target in targets for node in ast.walk(target)]
        if all(isinstance(node, ast.Name | ast.Tuple | ast.expr_context) for node in names):
            return [node.id for node in names if isinstance(node, ast.Name)]
    return []


def _reached(
    statements: list[ast.stmt], module: str, at_the_top: dict[str, Place], own: Collection[str]
) -> Iterable[Place]:
    nodes = [node for statement in statements for node in ast.walk(statement)]
    inside = _imports(nodes)
    yield from _modules(inside)
    attribute_of = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if not isinstance(node, ast.Name):
            continue
        if node.id in own:
            yield module, node.id
        for imports in (inside, at_the_top):
            if node.id in imports:
                place, name = imports[node.id]
                if source_of(f"{place}.{name}"):  # `from cladeclip.encoders import weights`
                    yield f"{place}.{name}", attribute_of.get(id(node), WHOLE)
                elif name == WHOLE and source_of(place) and node.id != "cladeclip":
                    yield place, attribute_of.get(id(node), WHOLE)
                else:
                    yield place, name


def _imports(nodes: Iterable[ast.AST]) -> dict[str, Place]:
    """By the name that an import binds: a module of this package and what of it."""
    return {name: place for name, place in _bindings(nodes) if place[0].split(".")[0] == "cladeclip"}


def _bindings(nodes: Iterable[ast.AST]) -> Iterable[tuple[str, Place]]:
    """The names that imports bind, with the module and what of it, of any package."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name.split(".")[0], (alias.name, WHOLE)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, (node.module or "", alias.name)) for alias in node.names)


def _modules(imports: dict[str, Place]) -> Iterable[Place]:
    """The statements of the modules that imports run."""
    for place, name in imports.values():
        yield (f"{place}.{name}" if source_of(f"{place}.{name}") else place), STATEMENTS


def _is_code(statement: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


class _Computing(ast.NodeTransformer):
    """Removes from a syntax tree what does not affect results."""

    def __init__(self, errors: Collection[str]) -> None:
        self.errors = errors

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        match node.value:
            case ast.Constant(value=str()):
                return None
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"), attr=level)) if level in LEVELS:
                return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        match node.exc:
            case ast.Call(func=ast.Name(id=name)) if name in self.errors:
                return ast.Raise(exc=node.exc.func, cause=None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: Any) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node
