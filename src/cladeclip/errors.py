"""Errors that a user can mend: one sentence with the file or key, what is wrong, and what to change."""


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
