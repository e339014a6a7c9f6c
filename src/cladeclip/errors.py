"""Errors that a user can mend: one sentence with the file or key, what is wrong, and what to change."""

import difflib
import errno
from collections.abc import Iterable


class CladeclipError(Exception):
    """Shown to the user as its message alone, without a traceback."""


class ConfigError(CladeclipError):
    """A key of the config is unknown, has the wrong type, or contradicts another."""


class TableError(CladeclipError):
    """A table on disk is not what its contract in `tables.py` says."""


class DataError(CladeclipError):
    """The user's pictures or metadata cannot be used as they are."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(" :.")


def size_in_words(n: float) -> str:
    """Bytes in KB, MB or GB."""
    if n >= 1e9:
        return f"{n / 1e9:,.1f} GB"
    return f"{n / 1e6:,.0f} MB" if n >= 1e6 else f"{n / 1e3:,.0f} KB"


def sentence_of_machine_fault(error: BaseException) -> str:
    """The message for an error of the machine: a full or read-only disk, or too little memory.

    Returns:
        the sentence, or "" where it is another error.
    """
    number, reason, where = None, "", ""
    if isinstance(error, OSError):
        number, reason = error.errno, error.strerror or str(error)
        where = f"{error.filename}: " if error.filename else ""
    # Worker processes share data in /dev/shm, which Docker limits to 64 MB by default.
    said = str(error)
    if "/torch_" in said or "shared memory" in said or "Bus error" in said:
        return (
            "/dev/shm, the memory that processes share, is too small (`df -h /dev/shm` tells). Start the container "
            "with more (docker run --shm-size=8g), or set train.workers and embed.workers to 0; the same command goes on."
        )
    # Arrow's and safetensors' writers have errors of their own, with the system's words in them.
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in said:
        return f"{where}the disk is full (`df -h .` tells). Free some space; the same command then goes on."
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{where}{reason}. Make it readable and writable for you; the same command then goes on."
    # torch's errors are recognised by name and message: jobs that only handle tables do not import torch.
    short = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if short or "can't allocate memory" in str(error):
        return (
            f"out of memory ({first_line(error)}). Close other programs, run fewer jobs side by side (a smaller --cores), "
            "or lower embed.batch_size or train.batch_size; the same command then goes on."
        )
    return ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' for a near miss, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""
