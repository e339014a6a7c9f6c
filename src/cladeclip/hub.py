"""Files of one commit on the Hugging Face hub, downloaded whole or not at all and checked against the hub's hashes.

Files in the hub's own cache (`HF_HOME`) are taken from there; without a network (`HF_HUB_OFFLINE=1`), all are. An
interrupted download resumes, even within a file. huggingface_hub has not done that since 2.0: this module sends requests
through it, and writes the files itself.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Literal

from cladeclip.errors import CladeclipError, first_line, size_in_words
from cladeclip.io.atomic import atomic_path, sha256_of_file
from cladeclip.run.progress import progress

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]
# Selects the wanted file names from all of a repository.
Choose = Callable[[Collection[str]], Iterable[str]]
# Seconds without one new byte after which a download gives up.
PATIENCE = 600
# Transient HTTP errors: a timeout, too many requests, server errors.
FOR_A_WHILE = (408, 429, 500, 502, 503, 504)
# Concurrent downloads, if there are at least as many files.
AT_ONCE = 8
PIECE = 1 << 20


class HubError(CladeclipError):
    """Something cannot be had from the hub; the message is a part of a sentence."""


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it.

    Attributes:
        size: bytes.
        object_id: sha256 of its bytes (64 hexadecimal digits) where it is stored outside of git, else git's own hash (40).
    """

    size: int
    object_id: str


@dataclass(frozen=True)
class Repository:
    """A repository at one commit; `files` by name."""

    name: str
    kind: Kind
    commit: str
    licence: str | None
    files: Mapping[str, Listed]


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository at one commit, below `folder` under their names there."""

    repository: str
    commit: str
    folder: Path
    files: tuple[str, ...]

    def record(self) -> dict[str, str]:
        """Provenance, for the record of what is made from these files."""
        return {"repository": self.repository, "commit": self.commit}


def offline() -> bool:
    """Whether the hub's client is kept off the network."""
    from huggingface_hub.constants import is_offline_mode

    return is_offline_mode()


def look_up(name: str, revision: str, kind: Kind = "model", *, patience: float = PATIENCE) -> Repository:
    """What lies in a repository at a revision (a branch, a tag or a commit).

    Args:
        patience: seconds for which requests are retried after transient errors.

    Raises:
        HubError: the hub cannot be reached, or there is no such repository or revision.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with _sentences(name, revision):
        api = HfApi()
        info: Any = _patiently(lambda: api.repo_info(name, repo_type=kind, revision=revision, timeout=20), patience)
        tree = api.list_repo_tree(name, recursive=True, revision=info.sha, repo_type=kind)
        files = {
            entry.path: Listed(entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
            for entry in tree
            if isinstance(entry, RepoFile)
        }
    licence = info.card_data.get("license") if info.card_data else None
    return Repository(name, kind, info.sha, licence, files)


def snapshot(name: str, choose: Choose, folder: str | Path, *, revision: str, kind: Kind = "model") -> Snapshot:
    """Brings the files that `choose` picks from a repository into `folder`; those in the hub's cache are not downloaded.

    Args:
        choose: selects the wanted names from all file names of the repository.

    Raises:
        HubError: they are not in the cache and cannot be downloaded.
    """
    if offline():
        return from_cache(name, choose, folder, revision=revision, kind=kind)
    try:
        repository = look_up(name, revision, kind)
    except HubError:
        # Without a network, too, a cache that somebody filled is enough.
        with suppress(HubError):
            return from_cache(name, choose, folder, revision=revision, kind=kind)
        raise
    wanted = tuple(choose(list(repository.files)))
    bring(repository, wanted, folder)
    return Snapshot(name, repository.commit, Path(folder), wanted)


def from_cache(name: str, choose: Choose, folder: str | Path, *, revision: str, kind: Kind = "model") -> Snapshot:
    """Brings those cached files of a repository that `choose` picks into `folder`.

    Raises:
        HubError: the cache has no file of the repository at this revision, or a damaged one.
    """
    cached = _cached_folder(name, revision, kind)
    there = _files_below(cached)
    wanted = tuple(choose(list(there)))
    for file in wanted:
        path = there[file].resolve()
        if not _is_object(path, path.name):  # the cache calls a file by its hash
            raise HubError(f"{path}: this file of the hub's cache is damaged ({file} of {name}); delete it")
        place(path, Path(folder, file))
    return Snapshot(name, cached.name, Path(folder), wanted)


def is_cached(name: str, choose: Choose, *, revision: str, kind: Kind = "model") -> bool:
    """Whether the hub's cache has what `choose` picks of a repository at this revision."""
    try:
        return bool(list(choose(list(_files_below(_cached_folder(name, revision, kind))))))
    except HubError:
        return False


def _files_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _cached_folder(name: str, revision: str, kind: Kind) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # No patterns: the cache need not hold the rest of the repository.
        return Path(
            snapshot_download(name, repo_type=kind, revision=revision, local_files_only=True, allow_patterns=[])
        )
    except (LocalEntryNotFoundError, ValueError) as error:
        why = "HF_HUB_OFFLINE is set" if offline() else "the hub cannot be reached"
        raise HubError(f"{why}, and the hub's cache has no {name} at revision {revision}") from error


def bring(repository: Repository, names: Iterable[str], folder: str | Path, *, patience: float = PATIENCE) -> None:
    """Brings these files of a repository below `folder`; those that lie there, or in the hub's cache, are not downloaded.

    Args:
        patience: seconds without a new byte after which it gives up.

    Raises:
        HubError: a file cannot be obtained; complete files stay, and the next call continues from there.
    """
    from huggingface_hub import try_to_load_from_cache

    folder, missing = Path(folder), []
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise HubError(f"{repository.name} has a file {name!r}, which would lie outside of {folder}")
        target, object_id = folder / name, repository.files[name].object_id
        if target.is_file() and _is_object(target, object_id):
            continue
        cached = try_to_load_from_cache(repository.name, name, revision=repository.commit, repo_type=repository.kind)
        if isinstance(cached, str) and _is_object(Path(cached), object_id):
            place(Path(cached), target)
        else:
            missing.append(name)
    if missing:
        _download_all(repository, missing, folder, patience)


def _download_all(repository: Repository, names: list[str], folder: Path, patience: float) -> None:
    total = sum(repository.files[name].size for name in names)
    logger.info("%s: fetching %d files, %s.", repository.name, len(names), size_in_words(total))
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise HubError(
            f"{repository.name} needs {size_in_words(total)} in {folder}, where {size_in_words(free)} are free"
        )

    lock = Lock()
    with progress(total=total, desc=repository.name, unit="B", unit_scale=True) as bar:

        def arrived(n: int) -> None:
            with lock:
                bar.update(n)

        def one(name: str) -> None:
            with _sentences(repository.name, repository.commit):
                _download(repository, name, folder / name, patience, arrived)

        if len(names) < AT_ONCE:
            for name in names:
                one(name)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = [pool.submit(one, name) for name in names]
            try:
                for future in waiting:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _download(repository: Repository, name: str, target: Path, patience: float, arrived: Callable[[int], Any]) -> None:
    """Downloads one file, which gets its name only when its hash is the one that the hub lists."""
    from huggingface_hub import hf_hub_url

    listed = repository.files[name]
    url = hf_hub_url(repository.name, name, repo_type=repository.kind, revision=repository.commit)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for _ in range(2):  # a part left by an earlier attempt may be of another version
        _receive(url, part, listed.size, patience, arrived)
        if _is_object(part, listed.object_id):
            part.replace(target)
            return
        arrived(-listed.size)
        part.unlink()
    raise HubError(
        f"what arrived twice as {name} of {repository.name} is not what the hub announces (hash {listed.object_id}): "
        "a proxy may change it on the way"
    )


def _receive(url: str, part: Path, size: int, patience: float, arrived: Callable[[int], Any]) -> None:
    """Appends to `part` until it has `size` bytes, whatever the connection does meanwhile."""
    import httpx2
    from huggingface_hub.utils import HfHubHTTPError, build_hf_headers, get_session, hf_raise_for_status

    part.touch()
    if part.stat().st_size > size:
        part.unlink()
        part.touch()
    arrived(have := part.stat().st_size)
    last, wait = time.monotonic(), 1.0
    while have < size:
        before, fault = have, None
        headers = build_hf_headers() | {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        try:
            with (
                part.open("ab") as file,
                get_session().stream("GET", url, headers=headers, timeout=30) as response,
            ):
                hf_raise_for_status(response)
                if have and response.status_code != 206:
                    file.truncate(0)  # this server ignores Range and sends the whole file
                    arrived(-have)
                for piece in response.iter_bytes():
                    file.write(piece)
                    arrived(len(piece))
        except (httpx2.TransportError, HfHubHTTPError) as error:
            if not _passes(error):
                raise
            fault = error
        have = part.stat().st_size
        if have > before:
            last, wait = time.monotonic(), 0.1
        elif time.monotonic() - last > patience:
            raise fault or HubError(f"{url} ends after {have} of {size} bytes")
        if have < size:
            said = f" ({first_line(fault)})" if fault else ""
            logger.info("%s: %d of %d bytes%s; going on.", part.stem, have, size, said)
            time.sleep(_told_to_wait(fault) or wait)
            wait = min(max(2 * wait, 1.0), 60.0)


def _patiently(ask: Callable[[], Any], patience: float) -> Any:
    """The result of `ask`, retried for a while after transient HTTP errors; without a network it fails at once."""
    from huggingface_hub.utils import HfHubHTTPError

    last, wait = time.monotonic(), 1.0
    while True:
        try:
            return ask()
        except HfHubHTTPError as error:
            if not _passes(error) or time.monotonic() - last > patience:
                raise
            logger.info("%s; asking again.", first_line(error))
            time.sleep(_told_to_wait(error) or wait)
            wait = min(2 * wait, 60.0)


def _passes(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    response = getattr(error, "response", None)
    return response is None or response.status_code in FOR_A_WHILE


def _told_to_wait(error: Exception | None) -> float:
    """Seconds that the hub asks to wait (Retry-After, or the reset of its rate limit); 0 where it does not."""
    from huggingface_hub.utils import parse_ratelimit_headers

    response = getattr(error, "response", None)
    if response is None:
        return 0.0
    if (limit := parse_ratelimit_headers(response.headers)) is not None and limit.remaining == 0:
        return limit.reset_in_seconds + 1.0
    after = response.headers.get("retry-after", "")
    return float(after) if after.isdigit() else 0.0


@contextmanager
def _sentences(name: str, revision: str) -> Iterator[None]:
    """Turns exceptions of the hub's client into a HubError; disk errors (OSError) pass through."""
    from huggingface_hub import constants, errors

    try:
        yield
    except CladeclipError:
        raise
    except Exception as error:
        match error:
            case errors.GatedRepoError():
                said = f"{name} asks for your consent: give it at {constants.ENDPOINT}/{name}, then run `hf auth login`"
            case errors.RepositoryNotFoundError():
                said = f"the hub has no repository {name}, or it is not public"
            case errors.RevisionNotFoundError():
                said = f"{name} has no revision {revision}"
            case errors.EntryNotFoundError():
                said = f"{name} at {revision} lacks a file: {first_line(error)}"
            case errors.OfflineModeIsEnabled():
                said = "HF_HUB_OFFLINE is set"
            case OSError() if not isinstance(error, errors.HfHubHTTPError | ConnectionError):
                raise
            case _:
                said = f"the hub cannot be reached: {first_line(error)}"
        raise HubError(said) from error


def _is_object(path: Path, object_id: str) -> bool:
    """Whether a file's bytes have this hash: a sha256, or git's own sha1 of a blob."""
    if len(object_id) == 64:
        return sha256_of_file(path) == object_id
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest() == object_id


def place(source: Path, target: Path) -> None:
    """Makes `target` a hard link to `source` where the file system allows it, else a copy."""
    with atomic_path(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)
