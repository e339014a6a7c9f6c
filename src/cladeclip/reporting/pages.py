"""What every page is made of: templates, style and scripts, and the policy that lets these and no others work."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Templates below cladeclip/reporting; whatever comes from the data is escaped."""
    return Environment(
        loader=PackageLoader("cladeclip", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> str:
    """A style or script below cladeclip/reporting."""
    return files("cladeclip.reporting").joinpath(name).read_text(encoding="utf-8")


def policy(style: str, scripts: Sequence[str]) -> str:
    """A Content-Security-Policy for a page with this style and these scripts: no other code, and no request at all."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
