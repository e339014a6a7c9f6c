"""Pictures that metadata name by an address on the web, and where they lie once they are fetched."""

import hashlib
import html
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from cladeclip.datasets.pictures import SUFFIXES

# The folder below the dataset's root that fetched pictures lie in.
FOLDER = "pictures"
# How the image_id of a row begins that names neither a file nor an address.
NOWHERE = "no address: "


def cleaned(text: str) -> str:
    """An address without what it caught on its way through web pages and spreadsheets; other text as it is, stripped."""
    text = html.unescape(text.strip())
    if text.startswith("//"):
        text = f"https:{text}"
    elif text.lower().startswith("www."):
        text = f"http://{text}"
    return text.replace(" ", "%20") if is_of_web(text) else text


def is_address(text: str) -> bool:
    """Whether a text names a file by a scheme (https:, ftp:, urn: ...), and not by its path."""
    return re.match(r"[a-z][a-z0-9+.-]+:", text, re.IGNORECASE) is not None


def is_of_web(text: str) -> bool:
    """Whether a text is an address of http or https, which alone are fetched."""
    return re.match(r"https?://", text, re.IGNORECASE) is not None


def picture_path(address: str) -> str:
    """The path of a fetched picture below the dataset's root, and so its image_id: the same for the same address."""
    digest = hashlib.sha256(address.encode()).hexdigest()
    suffix = PurePosixPath(file_name(address)).suffix.lower()
    # Without a suffix, or with one such as .php, it is recognised by its content.
    return f"{FOLDER}/{digest[:2]}/{digest[2:18]}{suffix if suffix in SUFFIXES else ''}"


def file_name(address: str) -> str:
    """The last part of an address's path; empty where it has none, or the address cannot be read."""
    try:
        return PurePosixPath(unquote(urlsplit(address).path)).name
    except ValueError:  # a host in half a pair of brackets, say
        return ""


def host_of(address: str) -> str:
    """The name of the host; empty where the address cannot be read."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
