"""What code a rule really depends on: a hash of its script and of every module of this package that it reaches.

Hashed are syntax trees without comments and docstrings, so that editing the loss makes checkpoints stale while editing a
docstring, reformatting or touching a file does not. Imports inside functions count as well. What a file's bytes come to is
remembered: reading every syntax tree anew took half of the time of a plan.
"""

import ast
import hashlib
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from cladeclip.atomic import read_json, write_json

PACKAGE = Path(__file__).parent
# In the folder that a command is started in, beside Snakemake's own records. Keys are hashes of what the entry follows from.
MEMORY = Path(".snakemake/cladeclip-fingerprints.json")
# Syntax trees differ between versions of Python, and what is made of them with this file.
READER = hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes()).hexdigest()


def fingerprint_of(*scripts: str | Path) -> str:
    """The fingerprint (16 hex digits) of these scripts and of all package modules that they import, directly or not."""
    seen: dict[Path, str] = {}
    waiting = [Path(script) for script in scripts]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        digest, imported = _digest_and_imports(path)
        seen[path] = digest
        waiting.extend(source for name in imported if (source := _source_of(name)) is not None)
    # Sorted by content, not by path: the same code in another folder has the same fingerprint.
    return hashlib.sha256("\n".join(sorted(seen.values())).encode()).hexdigest()[:16]


# Digest and imported modules of the files that this process asked about, by the hash of their bytes.
_in_use: dict[str, tuple[str, list[str]]] = {}


@cache
def _remembered() -> dict[str, tuple[str, list[str]]]:
    """The same of the last command that read a new file."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        memory = read_json(MEMORY)
        if memory["reader"] == READER:
            return {key: (digest, imported) for key, (digest, imported) in memory["files"].items()}
    return {}


def remember() -> None:
    """Keeps what was read for the next command; a folder that cannot be written to costs half a second then."""
    if _in_use != _remembered():
        with suppress(OSError):
            write_json(MEMORY, {"reader": READER, "files": _in_use})


@cache
def _digest_and_imports(path: Path) -> tuple[str, list[str]]:
    source = path.read_bytes()
    key = hashlib.sha256(source).hexdigest()
    _in_use[key] = _remembered().get(key) or _read(source)
    return _in_use[key]


def _read(source: bytes) -> tuple[str, list[str]]:
    """The digest of a file's syntax tree, and the modules of this package that it imports."""
    tree = ast.parse(source)
    imported = []
    for node in ast.walk(tree):
        imported.extend(_modules_of(node))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), list(dict.fromkeys(imported))


def _modules_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        dotted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        # `from cladeclip.encoders import weights` may name a module or something inside __init__.py.
        dotted = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return []
    return [name for name in dotted if name.split(".")[0] == "cladeclip"]


def _source_of(dotted: str) -> Path | None:
    package, *rest = dotted.split(".")
    if package != "cladeclip" or not rest:
        return None
    below = PACKAGE.joinpath(*rest)
    for candidate in (below.with_suffix(".py"), below / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:] or [ast.Pass()]
