"""Writes envs/cladeclip.yaml, for `snakemake --sdm conda`, with the versions of envs/requirements.lock.

    .venv/bin/python envs/write_conda.py

Snakemake copies the file elsewhere before it builds the environment: it can name no other file.
"""

import re
from pathlib import Path

ENVS = Path(__file__).parent
HEAD = """\
# For `snakemake --sdm conda`: Python from conda, everything else in the versions of requirements.lock, without their hashes.
# Written by envs/write_conda.py.
name: cladeclip
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def environment() -> str:
    lock = (ENVS / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([A-Za-z0-9_.-]+==[^\s\\]+(?: ; [^\\\n]*?)?)\s*\\?$", lock, re.MULTILINE)
    return HEAD + "".join(f'      - "{pin}"\n' for pin in pins)


if __name__ == "__main__":
    (ENVS / "cladeclip.yaml").write_text(environment(), encoding="utf-8")
