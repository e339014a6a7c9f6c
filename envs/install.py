"""Installs the locked environment with pip, and says how far it is: `python envs/install.py .venv/bin/python`.

pip itself says nothing for minutes, or a page. What it says goes to install.log beside the environment; where it fails, its
last lines are shown. Needs the standard library alone.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.lock")
EVERY = 10  # seconds
LINES_OF_A_FAILURE = 15


def distributions(site_packages: Path) -> int:
    return sum(1 for _ in site_packages.glob("*.dist-info"))


def said_by(log: Path) -> list[str]:
    """What pip said, without its warnings about how this machine has set it up."""
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if line.strip() and not line.startswith(("WARNING: Location", "Looking in"))]


def main(python: str) -> int:
    environment = Path(python).absolute().parents[1]
    log, wanted = environment / "install.log", len(re.findall(r"^[a-z0-9].*==", LOCK.read_text(), re.MULTILINE))
    site_packages = next(environment.glob("lib/python3*/site-packages"))
    already, start = distributions(site_packages), time.monotonic()
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    with log.open("w") as output:
        pip = subprocess.Popen(
            [*command, "--require-hashes", "-r", str(LOCK)], stdout=output, stderr=subprocess.STDOUT, text=True
        )
        while True:
            try:
                status = pip.wait(EVERY)
                break
            except subprocess.TimeoutExpired:
                done, verb = distributions(site_packages) - already, "installed"
                if not done:
                    done, verb = sum(line.startswith("Collecting ") for line in said_by(log)), "fetched"
                print(f"  {time.monotonic() - start:4.0f} s  {done} of some {wanted} packages {verb}", flush=True)
    if status:
        print("\n".join(said_by(log)[-LINES_OF_A_FAILURE:]), file=sys.stderr)
        print(f"The environment could not be installed; all that pip said is in {log}.", file=sys.stderr)
        return 1
    done = distributions(site_packages) - already
    print(f"  {time.monotonic() - start:4.0f} s  all {done} packages installed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
