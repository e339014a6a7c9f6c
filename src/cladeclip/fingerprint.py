"""What code a rule really depends on: a hash of its script and of every module of this package that it reaches.

Hashed are syntax trees without comments and docstrings, so that editing the loss makes checkpoints stale while editing a
docstring, reformatting or touching a file does not. Imports inside functions count as well.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


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
        waiting.extend(imported)
    # Sorted by content, not by path: the same code in another folder has the same fingerprint.
    return hashlib.sha256("\n".join(sorted(seen.values())).encode()).hexdigest()[:16]


@cache
def _digest_and_imports(path: Path) -> tuple[str, tuple[Path, ...]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = []
    for node in ast.walk(tree):
        imported.extend(_modules_of(node))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imported)


def _modules_of(node: ast.AST) -> list[Path]:
    if isinstance(node, ast.Import):
        dotted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        # `from cladeclip.encoders import weights` may name a module or something inside __init__.py.
        dotted = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return []
    return [path for name in dotted if (path := _source_of(name)) is not None]


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
