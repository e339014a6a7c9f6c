"""A table of synonyms, as a taxonomist or TaxonoPy makes it: a name, and the accepted name that stands in its place."""

from pathlib import Path

from cladeclip.datasets.names import plain
from cladeclip.errors import DataError
from cladeclip.io.table_file import read_table_file


def read_synonyms(file: str | Path) -> dict[str, str]:
    """Accepted names by names, from the first two columns of a table; none for no file. Rows with a blank are ignored.

    Raises:
        DataError: the file is no table of two columns, or gives a name two accepted ones.
    """
    if not file:
        return {}
    table = read_table_file(Path(file), key="dataset.synonyms")
    if table.shape[1] < 2:
        raise DataError(f"{file}: dataset.synonyms needs two columns, a name and its accepted name.")
    found: dict[str, str] = {}
    for name, accepted in zip(table.iloc[:, 0].map(plain), table.iloc[:, 1].map(plain), strict=True):
        if not name or not accepted:
            continue
        if found.setdefault(name, accepted) != accepted:
            raise DataError(f"{file}: gives {name!r} two accepted names, {found[name]!r} and {accepted!r}; keep one.")
    return found
