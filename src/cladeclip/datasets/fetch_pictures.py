"""Brings the pictures whose addresses the metadata has, within limits, and goes on where it stopped.

Beside the pictures a journal keeps a line of each that came, with its hash: one that comes again with other bytes is
noticed. A picture gets to its place when it is whole, so a command that was killed loses those on their way and no other.
"""

import asyncio
import json
import logging
import shutil
from collections import defaultdict, deque
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any

import pandas as pd

from cladeclip.config.sections import Addresses
from cladeclip.datasets.addresses import FOLDER, host_of, picture_path
from cladeclip.datasets.web import Answer, Guest
from cladeclip.errors import ConfigError, DataError, size_in_words
from cladeclip.io.atomic import sha256_of_file
from cladeclip.run.progress import progress
from cladeclip.tables import FETCHED

logger = logging.getLogger(__name__)

JOURNAL = ".fetched.jsonl"
# The beginning of the name of the folder of files on their way.
STAGING = ".fetching-"
GB = 1_000_000_000
# A second one gains nothing: Python runs one thread at a time, but for the decoding itself.
DECODERS = 1


@dataclass(frozen=True)
class Picture:
    """One that is to be fetched."""

    image_id: str
    address: str


def fetch_pictures(
    root: str | Path, listed: pd.DataFrame, manners: Addresses, *, licences: Collection[str]
) -> pd.DataFrame:
    """Fetches the listed pictures that have an address and do not lie below `root`.

    Args:
        listed: as `read_listed` gives it, with `address`.
        manners: of the config: who fetches, within which limits. What was fetched before counts in total_gb.
        licences: pictures of others are not asked for; empty for all.

    Returns:
        the `fetched` table: every address, with the reason where there is no picture of it.

    Raises:
        ConfigError: nobody is named whom the keepers of the hosts can reach.
        DataError: the metadata has no addresses, or too many pictures are missing.
    """
    root = Path(root)
    if not manners.contact.strip():
        raise ConfigError(
            "config: dataset.addresses.contact is empty; say an e-mail address or page where the keepers of the hosts "
            "that you fetch from reach you."
        )
    wanted = wanted_pictures(listed, licences)
    if not wanted:
        raise DataError(
            f"{root}: no listed picture has an address that may be fetched; see dataset.licences and layout."
        )
    root.mkdir(parents=True, exist_ok=True)
    journal = Journal(root)
    rows, missing = [], []
    for picture in wanted:
        known = journal.there(picture)
        if known is None:
            missing.append(picture)
        else:
            rows.append(_row(picture, known) | {"other_bytes": picture.address in journal.changed})
    logger.info("%d of %d pictures lie there already.", len(rows), len(wanted))
    room = manners.total_gb * GB - sum(row["size"] for row in rows)
    rows += asyncio.run(_fetch_all(root, missing, manners, journal, room))
    table = pd.DataFrame(rows, columns=list(FETCHED.columns))
    _tell(root, table, manners.max_missing)
    return table


def wanted_pictures(listed: pd.DataFrame, licences: Collection[str]) -> list[Picture]:
    """What is fetched of the listed pictures, or was: each address once. What lies elsewhere below the root is not."""
    if "address" not in listed:
        return []
    rows = listed[listed["address"] != ""]
    if licences:
        rows = rows[rows.get("licence", pd.Series("unknown", index=rows.index)).isin(licences)]
    pairs = dict(zip(rows["image_id"], rows["address"], strict=True))
    return [Picture(*pair) for pair in pairs.items() if pair[0] == picture_path(pair[1])]


async def _fetch_all(
    root: Path, pictures: list[Picture], manners: Addresses, journal: "Journal", room: float
) -> list[dict[str, Any]]:
    """The rows of `fetched` of these pictures; `room` is the bytes that may still be fetched."""
    # A queue a host: a slow one does not hold up the others.
    queues: dict[str, deque[Picture]] = defaultdict(deque)
    for picture in pictures:
        queues[host_of(picture.address)].append(picture)
    rows: list[dict[str, Any]] = []

    async def serve(queue: deque[Picture]) -> None:
        while queue:
            picture = queue.popleft()
            answer = await guest.fetch(picture.address, root / picture.image_id)
            row = _row(picture, answer)
            if not answer.reason:
                row["other_bytes"] = journal.note(picture, answer)
            rows.append(row)
            bar.update()

    # Left by a command that was killed.
    for left in root.glob(f"{STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)
    with (
        TemporaryDirectory(dir=root, prefix=STAGING) as staging,
        progress(total=len(pictures), desc="fetching", unit="pictures") as bar,
        ThreadPoolExecutor(DECODERS) as decoders,
        journal,
    ):
        async with Guest(manners, Path(staging), decoders, room) as guest:
            try:
                async with asyncio.TaskGroup() as group:
                    for queue in queues.values():
                        for _ in range(min(manners.connections, len(queue))):
                            group.create_task(serve(queue))
            except* OSError as errors:  # a full disk, say: it is no picture's fault
                raise errors.exceptions[0] from None
    return rows


def _row(picture: Picture, answer: Answer) -> dict[str, Any]:
    return {
        "image_id": picture.image_id,
        "address": picture.address,
        "sha256": answer.sha256,
        "size": answer.size,
        "reason": answer.reason,
        "other_bytes": False,
    }


class Journal:
    """What came of each address, kept below the root; a context manager for `note`."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / JOURNAL
        self._known: dict[str, Answer] = {}
        # Addresses that gave other bytes at another time.
        self.changed: set[str] = set()
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self._learn(entry["address"], Answer(entry["sha256"], entry["size"]))
                except (ValueError, KeyError, TypeError):  # the last line of a command that was killed
                    continue

    def _learn(self, address: str, answer: Answer) -> None:
        if address in self._known and self._known[address].sha256 != answer.sha256:
            self.changed.add(address)
        self._known[address] = answer

    def there(self, picture: Picture) -> Answer | None:
        """What came, where the picture lies there with the size that it came with; None where it must be fetched."""
        path, known = self.root / picture.image_id, self._known.get(picture.address)
        try:
            size = path.stat().st_size
        except OSError:
            return None
        if known is None:
            # It is whole: it was renamed to its place. Only the line about it was lost.
            return Answer(sha256_of_file(path), size)
        return known if known.size == size else None

    def note(self, picture: Picture, answer: Answer) -> bool:
        """Keeps that a picture came; whether its address ever gave other bytes."""
        entry = {"address": picture.address, "sha256": answer.sha256, "size": answer.size}
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._learn(picture.address, answer)
        return picture.address in self.changed

    def __enter__(self) -> "Journal":
        # A line that was cut off by a kill must not be joined with the next one.
        cut = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        # Not written line by line, which takes a tenth of the time: what a kill loses is made up for (see `there`).
        self._file = self.path.open("a", encoding="utf-8")
        if cut:
            self._file.write("\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _tell(root: Path, table: pd.DataFrame, max_missing: float) -> None:
    failed = table[table["reason"] != ""]
    logger.info(
        "%d pictures of %s lie in %s, %d could not be fetched.",
        len(table) - len(failed),
        size_in_words(table["size"].sum()),
        root / FOLDER,
        len(failed),
    )
    for row in table[table["other_bytes"]].itertuples():
        logger.warning("%s: came with other bytes than before; it is %s.", row.address, row.image_id)
    if len(failed) == len(table) or len(failed) > max_missing * len(table):
        for row in failed.itertuples():
            logger.info("%s: %s", row.address, row.reason)
        reasons = failed["reason"].map(partial(shorten, width=120, placeholder=" ...")).value_counts()
        summary = "; ".join(f"{reason}: {n:,}" for reason, n in reasons.head(4).items())
        raise DataError(
            f"{root}: {len(failed):,} of {len(table):,} pictures could not be fetched ({summary}); "
            f"dataset.addresses.max_missing allows a share of {max_missing:g}. The same command goes on with those that are "
            "missing. If this machine has no way to the internet, run it where there is one (a cluster's login node)."
        )
