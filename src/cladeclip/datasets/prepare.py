"""Every listed picture ends in `images` or, with its reason, in `quarantine`; and every name as written in `names`."""

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd
from PIL import Image, UnidentifiedImageError

from cladeclip.datasets.addresses import NOWHERE
from cladeclip.datasets.decisions import Decisions, with_decided_names, with_ranks_of_decided
from cladeclip.datasets.layouts.specs import read_listed
from cladeclip.datasets.naming import name_pictures, why_no_species
from cladeclip.datasets.pictures import may_be_picture, open_picture
from cladeclip.datasets.specimens import together
from cladeclip.errors import DataError
from cladeclip.ranks import HIGHER_RANKS
from cladeclip.run.progress import progress

logger = logging.getLogger(__name__)

# Largest aspect ratio of a picture. Encoders scale its shorter side, then crop a square: scaled so, a strip of one pixel's
# width would exceed memory.
SLIMMEST = 100
# Columns of `images` where the data has them: whose a picture is, what may be done with it, where it comes from.
OF_PICTURES = (
    "licence",
    "licence_as_written",
    "rights_holder",
    "creator",
    "address",
    "latitude",
    "longitude",
)
# Reasons for which pictures are left out that are no faults of them.
NO_FAULTS = ("licence", "not_fetched", "no_address", "excluded")
NOTHING_DECIDED = Decisions()


@dataclass(frozen=True)
class Check:
    """What decoding one file showed: its size and a hash of its pixels, or the reason why it cannot be used."""

    width: int = 0
    height: int = 0
    pixel_hash: str = ""
    reason: str = ""
    detail: str = ""


class Prepared(NamedTuple):
    """The tables of these names; see their contracts in `tables.py`."""

    images: pd.DataFrame
    quarantine: pd.DataFrame
    names: pd.DataFrame


def prepare(
    root: str | Path,
    listing: pd.DataFrame,
    dataset: Mapping[str, Any],
    *,
    synonyms: Mapping[str, str] | None = None,
    decisions: Decisions = NOTHING_DECIDED,
    fetched: pd.DataFrame | None = None,
    workers: int,
) -> Prepared:
    """Reads the metadata below `root` and decodes every listed picture once.

    Args:
        root: the dataset's folder.
        listing: the `listing` table of that folder (content hashes).
        dataset: the config's `dataset:`, of which the layout, max_rejected (the share of listed pictures that may be
            rejected), unnamed (`keep` accepts pictures without a species) and licences are used.
        synonyms: see `read_names`.
        decisions: a curator's, on single pictures.
        fetched: the `fetched` table, where the pictures were fetched.
        workers: processes that decode.

    Raises:
        DataError: nothing is listed, or more than max_rejected of the listed pictures cannot be used.
    """
    listed = read_listed(root, listing, dataset)
    if listed.empty:
        raise DataError(f"{root}: the metadata lists no picture.")
    listed, names = name_pictures(with_decided_names(listed, decisions), synonyms)
    listed = with_ranks_of_decided(listed)
    excluded = {image_id: ("excluded", note or "by a curator") for image_id, note in decisions.excluded.items()}
    left_out = _not_there(fetched) | _not_allowed(listed, dataset.get("licences", [])) | excluded
    listed, rejected = _resolve_listing(listed, left_out, keep_unnamed=dataset.get("unnamed") == "keep")
    content_hash = dict(zip(listing["path"], listing["content_hash"], strict=True))

    paths = list(listed["image_id"])
    check = partial(check_picture, root=str(root))
    with ProcessPoolExecutor(workers) as pool:
        checks = list(
            progress(pool.map(check, paths, chunksize=16), total=len(paths), desc="checking", unit="pictures")
        )

    kept = [column for column in (*HIGHER_RANKS, "specimen", *OF_PICTURES) if column in listed.columns]
    images, unusable = [], list(rejected)
    for row, found in zip(listed.to_dict(orient="records"), checks, strict=True):
        image_id = row["image_id"]
        if found.reason:
            unusable.append((image_id, found.reason, found.detail))
            continue
        images.append(
            {
                "image_id": image_id,
                "content_hash": content_hash.get(image_id, found.pixel_hash),
                "category": row["category"],
                "scientific_name": row["scientific_name"],
                "genus": row["genus"],
                **{column: row[column] for column in kept},
                "width": found.width,
                "height": found.height,
                "content_group": found.pixel_hash,
                "name_as_written": row["name_as_written"],
                "name_kind": row["name_kind"],
            }
        )
    quarantine = pd.DataFrame(unusable, columns=["image_id", "reason", "detail"]).astype(str)
    _report(root, listing, images, quarantine, dataset["max_rejected"])
    return Prepared(_grouped(pd.DataFrame(images)), quarantine, names)


def _grouped(images: pd.DataFrame) -> pd.DataFrame:
    """With `pixel_group`, `specimen` (where there are any) and `content_group`: each group called by its first picture.

    A content group is a connected component of pictures with equal pixels (so equal bytes, too) or of one specimen.
    """
    ids, pixels = list(images["image_id"]), [(f"pixels {pixel_hash}",) for pixel_hash in images["content_group"]]
    images["pixel_group"] = images["content_group"] = together(ids, pixels)
    if "specimen" in images:
        links = [(*ours, *of_specimen) for ours, of_specimen in zip(pixels, images["specimen"], strict=True)]
        images["content_group"] = together(ids, links)
        images["specimen"] = together(ids, list(images["specimen"]))
    return images


def check_picture(image_id: str, root: str) -> Check:
    """Decodes one picture below `root` whole."""
    path = Path(root, image_id)
    try:
        if path.stat().st_size == 0:
            return Check(reason="zero_bytes", detail="the file is empty")
        image = open_picture(path)
        shorter, longer = sorted(image.size)
        if longer > SLIMMEST * shorter:
            return Check(reason="too_slim", detail=f"{image.width} x {image.height} pixels")
        pixels = hashlib.sha256(f"{image.width}x{image.height}".encode())
        pixels.update(image.tobytes())
        return Check(image.width, image.height, pixels.hexdigest())
    except FileNotFoundError:
        return Check(reason="missing_file", detail="listed in the metadata, but there is no such file")
    except UnidentifiedImageError:
        return Check(reason="not_an_image", detail="no known picture format")
    except Image.DecompressionBombError as error:
        return Check(reason="decompression_bomb", detail=str(error))
    except Exception as error:  # whatever it is, it is this picture's
        detail = str(error).replace(root, ".") or type(error).__name__
        return Check(reason="truncated" if "truncated" in detail.lower() else "unreadable", detail=detail)


def _not_there(fetched: pd.DataFrame | None) -> dict[str, tuple[str, str]]:
    """By image_id, that a picture could not be fetched, and why."""
    if fetched is None:
        return {}
    failed = fetched[fetched["reason"] != ""]
    return {row.image_id: ("not_fetched", f"{row.address}: {row.reason}") for row in failed.itertuples()}


def _not_allowed(listed: pd.DataFrame, licences: Collection[str]) -> dict[str, tuple[str, str]]:
    """By image_id, that a picture has none of these licences, if there are any."""
    if not licences:
        return {}
    of_each = listed["licence"] if "licence" in listed else ["unknown"] * len(listed)
    return {
        image_id: ("licence", f"{licence}, which dataset.licences does not list")
        for image_id, licence in zip(listed["image_id"], of_each, strict=True)
        if licence not in licences
    }


def _resolve_listing(
    listed: pd.DataFrame, left_out: Mapping[str, tuple[str, str]], *, keep_unnamed: bool
) -> tuple[pd.DataFrame, list[tuple[str, str, str]]]:
    """Reduces the listing to one row per picture, and rejects those that the metadata alone disqualifies."""
    labels = listed["scientific_name"].tolist()
    identifiers = listed["specimen"].tolist() if "specimen" in listed else [()] * len(listed)
    by_image: dict[str, list[int]] = {}
    for place, image_id in enumerate(listed["image_id"]):
        by_image.setdefault(str(image_id), []).append(place)
    rejected, kept, specimens = [], [], []
    for image_id, places in sorted(by_image.items()):
        # A row that names a species counts more than one that names none.
        names = sorted({labels[place] for place in places} - {""})
        if image_id in left_out:
            rejected.append((image_id, *left_out[image_id]))
        elif image_id.startswith(NOWHERE):
            rejected.append((image_id, "no_address", "the metadata names neither a file nor an address"))
        elif _leaves_root(image_id):
            rejected.append((image_id, "path_leaves_root", "the listed path points outside the dataset's folder"))
        elif len(names) > 1:
            rejected.append((image_id, "conflicting_species", "listed as " + " and as ".join(names)))
        elif not names and not keep_unnamed:
            rejected.append((image_id, "no_species", why_no_species(listed.iloc[places[0]])))
        else:
            kept.append(next((place for place in places if labels[place]), places[0]))
            specimens.append(tuple(chain.from_iterable(identifiers[place] for place in places)))
    resolved = listed.iloc[kept]
    return resolved.assign(specimen=specimens) if "specimen" in listed else resolved, rejected


def _leaves_root(image_id: str) -> bool:
    path = PurePosixPath(image_id)
    return path.is_absolute() or ".." in path.parts


def _report(
    root: str | Path, listing: pd.DataFrame, images: Iterable[dict], quarantine: pd.DataFrame, max_rejected: float
) -> None:
    accepted = [row["image_id"] for row in images]
    n_listed = len(accepted) + len(quarantine)
    known = {*accepted, *quarantine["image_id"]}
    unlisted = sum(may_be_picture(path) and path not in known for path in listing["path"])
    reasons = quarantine["reason"].value_counts()
    summary = ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"
    logger.info("%d of %d listed pictures can be used; rejected: %s.", len(accepted), n_listed, summary)
    if unlisted:
        logger.info("%d picture file(s) lie there without being listed in the metadata.", unlisted)
    # What hosts did not give, and what was not wanted, says nothing of the data.
    n_faults = int((~quarantine["reason"].isin(NO_FAULTS)).sum())
    share = n_faults / max(1, len(accepted) + n_faults)
    if not accepted or share > max_rejected:
        examples = "; ".join(f"{row.image_id}: {row.detail}" for row in quarantine.head(3).itertuples())
        raise DataError(
            f"{root}: {n_faults} of {len(accepted) + n_faults} listed pictures ({share:.1%}) cannot be used ({summary}), "
            f"more than dataset.max_rejected = {max_rejected} allows. For example: {examples}."
            if share > max_rejected
            else f"{root}: none of {n_listed} listed pictures can be used ({summary}). For example: {examples}."
        )
