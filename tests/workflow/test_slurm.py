"""The Slurm profile on a real Slurm of one node; `make slurm-test`. Behind its GPUs is nothing: the CPU does it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import Checkout
from conftest import REPOSITORY

from cladeclip.io.atomic import sha256_of_file

CLUSTER = REPOSITORY / "tests" / "slurm" / "cluster.sh"
PROFILE = ("--profile", "profiles/slurm", "--latency-wait", "20")
DEMO = REPOSITORY / "config" / "demo.yaml"
TRAINED = "specimen-vit.drawn-clip-fused-drawn-k54.seed5"
CHECKPOINT = f"results/demo/open-0/checkpoints/{TRAINED}/model.safetensors"
LOG = f"results/demo/logs/train/open-0/{TRAINED}.log"


class Cluster:
    """The commands that stand around the tests' snakemake."""

    def __init__(self, folder):
        self.folder = folder

    def script(self, command):
        subprocess.run(["bash", CLUSTER, command, self.folder], check=True, timeout=120)

    def jobs(self, since=0.0):
        """The jobs that were submitted since, as dicts of what scontrol says, with their `rule`."""
        said = subprocess.run(["scontrol", "-o", "show", "job"], capture_output=True, text=True, check=True).stdout
        jobs = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in said.splitlines() if "SubmitTime=" in line]
        return [
            job | {"rule": re.search(r"rule_(\w+?)_wildcards", job["Comment"] + "_wildcards")[1]}
            for job in jobs
            if seconds(job["SubmitTime"]) >= int(since)
        ]

    def wait_for(self, state, since):
        """The first job submitted since that is in this state."""
        return soon(lambda: next((job for job in self.jobs(since) if job["JobState"] == state), None), self.said)

    def state_of_node(self):
        return subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=True).stdout

    def said(self):
        """What helps to understand a failure."""
        commands = (["squeue", "--states=all", "-o", "%i %P %T %r %k"], ["scontrol", "show", "node"])
        parts = [subprocess.run(command, capture_output=True, text=True).stdout for command in commands]
        parts += [(self.folder / name).read_text()[-3000:] for name in ("slurmctld.log", "slurmd.log")]
        return "\n".join(parts)


def soon(answer, said, at_most=120):
    """The first answer that is not empty."""
    end = time.monotonic() + at_most
    while time.monotonic() < end:
        if found := answer():
            return found
        time.sleep(0.5)
    raise AssertionError(f"Not within {at_most} s.\n{said()}")


def seconds(moment):
    return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S"))


def trainings_of(job):
    """The ids of its processes that train. By their name alone, trainings beside the tests would be found, too."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = [(folder / name).read_bytes() for name in ("environ", "cmdline")]
        except OSError:
            continue  # it has ended
        if f"SLURM_JOB_ID={job['JobId']}".encode() in environment.split(b"\0") and b".train.py" in command:
            found.append(int(folder.name))
    assert found
    return found


def signal_to(processes, number):
    for process in processes:
        os.kill(process, number)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if shutil.which("slurmctld") is None or os.getuid() != 0:
        pytest.skip("needs root and Slurm (apt-get install slurm-wlm munge slurm-client)")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.script("start")
    yield cluster
    cluster.script("stop")


class Demo(Checkout):
    """The demo with one k on one split, trained for a few epochs on GPUs that it asks for, and its jobs on the cluster."""

    # Sites want a minute between two looks at the queue; here nobody else waits.
    SNAKEMAKE = (sys.executable, REPOSITORY / "tests" / "slurm" / "snakemake_without_patience.py")

    def __init__(self, folder, cluster):
        super().__init__(folder)
        # The node has two cores.
        profile = folder / "profiles" / "slurm" / "config.yaml"
        before = profile.read_text()
        profile.write_text(before.replace("cpus_per_gpu: 8", "cpus_per_gpu: 1"))
        assert profile.read_text() != before
        self.cluster = cluster
        self.results = folder / "results" / "demo"

    def settings(self, name="short.yaml", embed=None, **train):
        demo = yaml.safe_load(DEMO.read_text())
        demo["labels"] |= {"k": [54], "also": [], "controls": ["species"], "only": {}}
        demo["splits"], demo["report"]["primary"]["split"] = ["open-0"], "open-0"
        demo["train"] |= {"epochs": 2, "gpus": 1, **train}
        demo["embed"] |= embed or {}
        path = self.folder / name
        path.write_text(yaml.safe_dump(demo))
        return path

    def submit(self, *arguments, config):
        """Runs it through the profile: its output, and the cluster's jobs of it."""
        start = time.time()
        try:
            output = self.run(*arguments, *PROFILE, config=config)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.cluster.said()}") from error
        return output, self.cluster.jobs(start)

    def forget(self):
        """Removes the one checkpoint, and the log of its training."""
        for name in (CHECKPOINT, LOG):
            (self.folder / name).unlink(missing_ok=True)

    def in_training(self, since):
        """The job submitted since, when its training has been under way for some steps."""
        job, log = self.cluster.wait_for("RUNNING", since), self.folder / LOG
        soon(lambda: log.exists() and "training: 0 of" in log.read_text(), self.cluster.said)
        time.sleep(4)
        return job

    def train(self, *arguments, config):
        """Trains the one checkpoint anew: the jobs that this took, and its checksum."""
        self.forget()
        _, jobs = self.submit(CHECKPOINT, *arguments, config=config)
        return jobs, sha256_of_file(self.folder / CHECKPOINT)


@pytest.fixture(scope="module")
def demo(cluster, tmp_path_factory):
    return Demo(tmp_path_factory.mktemp("slurm"), cluster)


@pytest.fixture(scope="module")
def finished(demo):
    """The whole demo by the profile."""
    return demo.submit(config=demo.settings())[1]


@pytest.fixture(scope="module")
def longer(demo, finished):
    """Settings for a training of half a minute that faults can hit, and the checksum that an undisturbed one has."""
    config = demo.settings("longer.yaml", epochs=16)
    return config, demo.train(config=config)[1]


def test_each_rule_runs_in_its_partition_with_the_gpus_that_it_needs(demo, finished):
    assert {job["JobState"] for job in finished} == {"COMPLETED"}
    with_gpu = [job for job in finished if job["Partition"] == "gpu"]
    assert {job["rule"] for job in with_gpu} == {"embed", "embed_text", "train"}
    assert all(job["TresPerJob"] == "gres:gpu:1" for job in with_gpu)
    without = [job for job in finished if job["Partition"] == "cpu"]
    expected = {"draw_specimens", "prepare", "caption", "split", "store", "cluster", "control", "evaluate", "hierarchy"}
    assert {job["rule"] for job in without} == expected | {"embed", "embeddings_map", "saliency"}
    assert not any("gres" in job.get("TresPerJob", "") for job in without)
    # The time grows with the pictures, of which there are few, and not with the weights.
    assert {job["TimeLimit"] for job in finished if job["rule"] == "embed"} == {"01:00:00"}
    # Hand-made features need none, the others do.
    assert sum(job["rule"] == "embed" for job in without) == 1
    assert not {"compare", "fuse", "report", "manifest", "listing"} & {job["rule"] for job in finished}  # light: here
    assert demo.plan(config=demo.folder / "short.yaml") == {}


def test_one_rule_alone_by_its_target(demo, finished):
    before = sha256_of_file(demo.folder / CHECKPOINT)
    jobs, found = demo.train(config=demo.settings())
    assert [(job["rule"], job["Partition"]) for job in jobs] == [("train", "gpu")]
    assert found == before


def test_a_training_on_two_gpus_is_one_job_of_two_processes(demo, finished):
    table = demo.folder / CHECKPOINT.replace("model.safetensors", "training.csv")
    alone = pd.read_csv(table)["step"].max() // 2  # steps an epoch, of two epochs
    jobs, _ = demo.train(config=demo.settings("two.yaml", gpus=2, epochs=4))
    assert [(job["rule"], job["Partition"], job["TresPerJob"]) for job in jobs] == [("train", "gpu", "gres:gpu:2")]
    assert "train.gpus is 2, but no GPU was found: training on the CPU." in (demo.folder / LOG).read_text()
    # The batch size is that of one process: two take half as many steps.
    assert pd.read_csv(table)["step"].max() == 4 * (alone // 2)


def test_a_job_over_its_memory_gets_more_on_its_retry(demo, longer):
    config, expected = longer
    jobs, found = demo.train("--set-resources", "train:mem_mb=700*attempt", config=config)
    assert len(jobs) > 1
    assert "COMPLETED" not in [job["JobState"] for job in jobs[:-1]]
    assert jobs[-1]["JobState"] == "COMPLETED"
    memory = [int(re.search(r"mem=(\d+)M", job["TRES"])[1]) for job in jobs]
    assert memory == [700 * attempt for attempt in range(1, len(jobs) + 1)]
    assert found == expected


def test_a_job_that_the_cluster_refuses_is_not_retried_with_more(demo, finished):
    """It asks for a type of GPU that no node has; what needs no GPU asks for none. An older log changes nothing."""
    config = demo.settings()
    config.write_text(f"gpu_model: a100\n{config.read_text()}")
    store = demo.results / "store" / "72.arrow"
    store.unlink()
    (demo.folder / CHECKPOINT).unlink()
    os.utime(demo.folder / LOG, (1, 1))
    code, said = demo.snakemake(CHECKPOINT, *PROFILE, config=config)
    assert code != 0
    assert store.exists()
    calls = re.findall(r"^ *sbatch --parsable .*", said, re.MULTILINE)
    assert len(calls) == 3, said
    assert all("--gpus=a100:1" in call for call in calls)
    for asked in (r"-t (\d+)", r"--mem[= ](\d+)"):
        assert len({re.search(asked, call)[1] for call in calls}) == 1, calls
    demo.run(CHECKPOINT, *PROFILE, config=demo.settings())


@contextmanager
def meanwhile(function):
    """Runs the function beside the block; what it raises is raised after it."""
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(function)
        yield future
        future.result()


def test_a_training_at_its_time_limit_saves_its_state_and_goes_on_with_more_time(demo, longer):
    config, expected = longer
    start = time.time()

    def hold():
        # A minute is the least that Slurm can limit. The training stands still until then; Slurm wakes it to end it.
        signal_to(trainings_of(demo.in_training(start)), signal.SIGSTOP)

    with meanwhile(hold):
        jobs, found = demo.train("--set-resources", "train:runtime=4*attempt-3", config=config)
    assert [job["JobState"] for job in jobs] == ["TIMEOUT", "COMPLETED"]
    assert [job["TimeLimit"] for job in jobs] == ["00:01:00", "00:05:00"]
    assert "Going on after step" in (demo.folder / LOG).read_text()
    assert found == expected


def test_a_cancelled_training_is_started_again_and_ends_with_the_same_bytes(demo, longer):
    config, expected = longer
    start = time.time()

    def cancel():
        job = demo.in_training(start)
        subprocess.run(["scancel", job["JobId"]], check=True)
        return job["JobId"]

    with meanwhile(cancel) as cancelled:
        jobs, found = demo.train(config=config)
    assert [job["JobState"] for job in jobs] == ["CANCELLED", "COMPLETED"]
    assert cancelled.result() == jobs[0]["JobId"]
    assert found == expected


def test_a_training_whose_node_dies_ends_with_the_same_bytes_when_the_node_is_back(demo, longer):
    config, expected = longer
    start = time.time()

    def crash():
        demo.in_training(start)
        demo.cluster.script("crash_node")
        soon(lambda: "down" in demo.cluster.state_of_node(), demo.cluster.said)
        # Slurm lets the jobs of a failed node wait for two minutes. (Told to start one now, its controller crashes.)
        demo.cluster.script("start_node")

    with meanwhile(crash):
        jobs, found = demo.train(config=config)
    print([(job["JobState"], job["Restarts"], job["Reason"]) for job in jobs])
    assert jobs[-1]["JobState"] == "COMPLETED"
    assert len(jobs) > 1 or int(jobs[0]["Restarts"]) == 1
    assert found == expected


def test_a_killed_snakemake_goes_on_beside_its_job_that_still_runs(demo, longer):
    config, expected = longer
    demo.forget()
    start = time.time()
    process = demo.start(CHECKPOINT, *PROFILE, config=config)
    left = demo.in_training(start)
    # It stands still until another job trains beside it, however fast the machine is.
    held = trainings_of(left)
    signal_to(held, signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    restarted = time.time()

    def wake():
        demo.cluster.wait_for("RUNNING", restarted)
        signal_to(held, signal.SIGCONT)

    with meanwhile(wake):
        code, said = demo.snakemake(CHECKPOINT, *PROFILE, config=config)
        assert code != 0
        assert "--unlock" in said
        demo.run("--unlock", config=config)
        _, jobs = demo.submit(CHECKPOINT, config=config)
    assert [(job["rule"], job["JobState"]) for job in jobs] == [("train", "COMPLETED")]  # nothing finished runs again
    assert sha256_of_file(demo.folder / CHECKPOINT) == expected
    # The first one has ended, or ends now, and changes nothing.
    soon(lambda: {"COMPLETED"} == {job["JobState"] for job in demo.cluster.jobs(start)}, demo.cluster.said)
    assert left["JobId"] in [job["JobId"] for job in demo.cluster.jobs(start)]
    assert sha256_of_file(demo.folder / CHECKPOINT) == expected
    assert demo.plan(CHECKPOINT, config=config) == {}


def test_shards_of_an_embedding_run_side_by_side(demo, finished):
    embeddings = demo.results / "embeddings" / "specimen-vit" / "image.parquet"
    before = sha256_of_file(embeddings)
    shutil.rmtree(demo.results / "cache")
    config = demo.settings("shards.yaml", embed={"shards": 2})
    _, jobs = demo.submit(str(embeddings.relative_to(demo.folder)), config=config)
    first, second = [(seconds(job["StartTime"]), seconds(job["EndTime"])) for job in jobs if job["rule"] == "embed"]
    assert max(first[0], second[0]) < min(first[1], second[1])
    assert sha256_of_file(embeddings) == before
