"""Runs the Python code of README and docs, and the notebook, on the finished demo: python tests/demo/run_docs.py

The blocks of a page run one after the other in one namespace, in the repository's folder, as a reader would type them.
"""

import re
import sys
import time
import warnings
from pathlib import Path

import nbclient
import nbformat

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = REPOSITORY / "docs" / "notebooks"


def run_page(page: Path) -> int:
    """Runs the blocks of a page; returns how many there are."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)
    return len(blocks)


def main() -> None:
    if not (REPOSITORY / "results" / "demo" / "comparison.parquet").is_file():
        sys.exit("results/demo: is not finished; run `make demo` first.")
    warnings.simplefilter("error", FutureWarning)
    ran = sum(run_page(page) for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))])
    assert ran, "no page has Python code"
    print(f"{ran} blocks of Python ran.")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        start = time.monotonic()
        nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
        pictures = sum("image/png" in output.get("data", {}) for c in notebook.cells for output in c.get("outputs", []))
        assert pictures, f"{path.name} shows no figure"
        print(f"{path.name} ran in {time.monotonic() - start:.0f} s and shows {pictures} figure(s).")


if __name__ == "__main__":
    main()
