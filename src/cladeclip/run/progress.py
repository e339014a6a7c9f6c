"""Progress of anything that takes longer than a few seconds: a bar on a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10
LINE = "{desc}: {n_fmt} of {total_fmt} {unit} in {elapsed}, {rate_fmt}{postfix}"


def progress(
    iterable: Iterable | None = None, *, total: int, desc: str, unit: str, initial: int = 0, unit_scale: bool = False
) -> Any:
    """A tqdm over `iterable` (or to be advanced by hand) that suits where standard error goes."""
    if sys.stderr.isatty():
        return tqdm(iterable, total=total, initial=initial, desc=desc, unit=unit, unit_scale=unit_scale)
    return tqdm(
        iterable,
        total=total,
        initial=initial,
        desc=desc,
        unit=unit,
        unit_scale=unit_scale,
        file=_Lines(),
        bar_format=LINE,
        disable=total == 0,
        mininterval=SECONDS_BETWEEN_LINES,
        # Without this, tqdm skips the time check for as many iterations as fitted into the last interval.
        miniters=1,
    )


class _Lines:
    """A stream on which tqdm's rewriting of one line becomes lines of their own."""

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
