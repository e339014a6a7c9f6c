"""What a job says when it fails, seen from outside: the terminal, the exit status and the log."""

import os
import resource
import subprocess
import sys

import pytest

JOB = """
import sys
from cladeclip.run.job_log import job_log
with job_log(sys.argv[1]):
{body}
"""


def job(body, log, **options):
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    command = [sys.executable, "-c", JOB.format(body=lines), str(log)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_what_libraries_print_goes_to_the_log(tmp_path):
    done = job("import os\nos.write(2, b'from C')\nprint('from Python', file=sys.stderr)", tmp_path / "a" / "job.log")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a" / "job.log").read_text() == "from Cfrom Python\n"


def test_an_error_of_ours_is_its_sentence_alone(tmp_path):
    done = job("from cladeclip.errors import DataError\nraise DataError('bird.jpg: empty.')", tmp_path / "job.log")
    assert (done.returncode, done.stderr.strip()) == (1, "Error: bird.jpg: empty.")
    assert (tmp_path / "job.log").read_text() == "Error: bird.jpg: empty.\n"


def test_any_other_error_is_its_last_line_and_the_log_has_the_traceback(tmp_path):
    done = job("{}['k']", tmp_path / "job.log")
    assert done.returncode == 1
    assert done.stderr.strip() == f"KeyError: 'k'\nThe log {tmp_path / 'job.log'} has the details."
    assert "Traceback" in (tmp_path / "job.log").read_text()


@pytest.fixture
def full_disk(tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


WRITERS = {
    "text": "from cladeclip.io.atomic import write_text\nwrite_text(FILE, 'x' * 10**6)",
    "table": (
        "import numpy as np, pandas as pd\nfrom cladeclip.io.atomic import atomic_path\n"
        "frame = pd.DataFrame({'x': np.random.default_rng(5).random(10**5)})\n"
        "with atomic_path(FILE) as temporary:\n    frame.to_parquet(temporary)"
    ),
    "weights": (
        "import torch\nfrom safetensors.torch import save_file\nfrom cladeclip.io.atomic import atomic_path\n"
        "with atomic_path(FILE) as temporary:\n    save_file({'x': torch.zeros(10**6)}, temporary)"
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("log_on_it", [False, True])
def test_a_full_disk_is_one_sentence_and_leaves_no_part_of_a_file(full_disk, tmp_path, kind, log_on_it):
    log = (full_disk if log_on_it else tmp_path) / "job.log"
    if log_on_it:
        (full_disk / "filler").write_bytes(bytes(64 * 1024 - 4096))
    done = job(WRITERS[kind].replace("FILE", repr(str(full_disk / "file.x"))), log)
    assert done.returncode == 1
    assert "the disk is full (`df -h .` tells). Free some space; the same command then goes on." in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in full_disk.iterdir()} <= {"filler", "job.log"}


def test_a_read_only_disk_is_one_sentence_even_for_the_log(full_disk):
    subprocess.run(["mount", "-o", "remount,ro", full_disk], check=True)
    done = job("pass", full_disk / "job.log")
    assert done.returncode == 1
    expected = f"Error: {full_disk / 'job.log'}: Read-only file system. Make it readable and writable for you;"
    assert done.stderr.strip().startswith(expected)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("body", ["import numpy as np\nnp.ones(10**10)", "import torch\ntorch.ones(10**10)"])
def test_too_little_memory_is_one_sentence(tmp_path, body):
    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (30 * 10**9, 30 * 10**9))

    done = job(body, tmp_path / "job.log", preexec_fn=limited)
    assert done.returncode == 1
    assert done.stderr.strip().startswith("Error: out of memory (")
    assert "Traceback" not in done.stderr


LOADER = """
import torch
from torch.utils.data import DataLoader
pictures = torch.utils.data.TensorDataset(torch.zeros(64, 3, 224, 224))
for batch in DataLoader(pictures, batch_size=32, num_workers=2):
    pass
"""


def test_too_little_shared_memory_is_called_so(tmp_path):
    """As in a container with Docker's default of 64 MB, and less."""
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small /dev/shm")
    script = tmp_path / "job.py"
    script.write_text(JOB.format(body="\n".join(f"    {line}" for line in LOADER.strip().splitlines())))
    small = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", small, "sh", sys.executable, str(script), str(tmp_path / "job.log")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "/dev/shm" in done.stderr
    assert "--shm-size=8g" in done.stderr
    assert "disk is full" not in done.stderr
