"""Pictures that metadata name by an address on the web, and where they lie once they are fetched."""

import hashlib
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from cladeclip.datasets.pictures import SUFFIXES

# The folder below the dataset's root that fetched pictures lie in.
FOLDER = "pictures"


def is_address(text: str) -> bool:
    """Whether a text is an address of the web, which alone are fetched."""
    return text[:8].lower().startswith(("http://", "https://")) and " " not in text.strip()


def picture_path(address: str) -> str:
    """The path of a fetched picture below the dataset's root, and so its image_id: the same for the same address."""
    digest = hashlib.sha256(address.strip().encode()).hexdigest()
    suffix = PurePosixPath(file_name(address)).suffix.lower()
    # Without a suffix, or with one such as .php, it is recognised by its content.
    return f"{FOLDER}/{digest[:2]}/{digest[2:18]}{suffix if suffix in SUFFIXES else ''}"


def file_name(address: str) -> str:
    """The last part of an address's path; empty where it has none, or the address cannot be read."""
    try:
        return PurePosixPath(unquote(urlsplit(address.strip()).path)).name
    except ValueError:  # a host in half a pair of brackets, say
        return ""


def host_of(address: str) -> str:
    """The name of the host; empty where the address cannot be read."""
    try:
        return urlsplit(address.strip()).hostname or ""
    except ValueError:
        return ""
