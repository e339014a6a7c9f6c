"""docs/gbif.md, command by command, on an archive whose pictures a host on this machine serves."""

import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from checkout import TINY, Checkout
from conftest import REPOSITORY
from sources.archives import gbif
from sources.hosts import host_of_pictures

from cladeclip.config.files import update
from cladeclip.io.parquet import read_table
from cladeclip.tables import FETCHED, IMAGES, QUARANTINE

PAGE = (REPOSITORY / "docs" / "gbif.md").read_text()
BY_NC = "http://creativecommons.org/licenses/by-nc/4.0/"


@pytest.fixture(scope="module")
def host(specimens, images, tmp_path_factory):
    """Serves an archive of the drawn specimens as GBIF does, and their pictures; three it does not have."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "pictures").symlink_to(specimens)
    with host_of_pictures() as host:
        host.folder = folder
        occurrences, media = [], []
        for number, row in enumerate(images.itertuples()):
            name, family = row.scientific_name, f"{row.category}idae"
            kind = [str(number), f"urn:{number}", name, "SPECIES", row.genus, family, row.category]
            occurrences.append([*kind, "1.5", "-2", "CC_BY_4_0", "The keeper of the record", ""])
            licence = BY_NC if number % 2 else "CC0_1_0"
            address = host.address(f"file/pictures/{row.image_id}")
            media.append([str(number), "StillImage", "image/png", address, "Ann", licence, "The museum"])
        for number, path in enumerate(("status/404", "html/a", "picture/of-nobody")):
            media.append(
                [
                    str(number if number < 2 else "none"),
                    "StillImage",
                    "",
                    host.address(path),
                    "",
                    "" if number == 2 else BY_NC,
                    "",
                ]
            )
        (folder / "v1/occurrence/download/request").mkdir(parents=True)
        gbif(folder / "v1/occurrence/download/request/KEY.zip", occurrences, media)
        yield host


@pytest.fixture(scope="module")
def done(host, tmp_path_factory):
    """The page's commands, run one after the other; what each said."""
    checkout, said = Checkout(tmp_path_factory.mktemp("gbif") / "clone"), {}
    checkout.results = checkout.folder / "results" / "moths"
    decided = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    # This machine is a private host.
    decided["dataset"]["addresses"] |= {"private_hosts": True, "per_second": 1000.0, "retries": 0}
    # Block by block.
    small = yaml.safe_load(TINY.read_text())
    del small["dataset"]
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        program, *arguments = shlex.split(block)
        if program == "curl":
            command = [
                program,
                "-s",
                *(word.replace("https://api.gbif.org", host.address("file")) for word in arguments),
            ]
            subprocess.run(command, cwd=checkout.folder, check=True)
        elif program == "make":
            named = dict(word.split("=") for word in arguments if "=" in word)
            command = [sys.executable, "-m", "cladeclip.run.new_config", named["NAME"], named["DATA"]]
            ran = subprocess.run(command, cwd=checkout.folder, capture_output=True, text=True)
            assert ran.returncode == 0, ran.stderr
            said["new"] = ran.stdout
            path = checkout.folder / "config" / "moths.yaml"
            config = yaml.safe_load(path.read_text())
            update(config, decided)
            update(config, small | {key: config[key] for key in ("labels", "splits", "report")})
            update(config["labels"], {"teachers": ["tiny-clip"], "features": ["fused-template"]})
            path.write_text(yaml.safe_dump(config))
        else:
            assert program == ".venv/bin/snakemake"
            cores = arguments.index("--cores")
            asked = [
                *arguments[:cores],
                *(word for word in arguments[cores:] if word in ("--forcerun", "fetch_pictures")),
            ]
            host.asked.clear()
            said[" ".join(asked)] = checkout.run(*asked, config=path)
            said[f"asked {' '.join(asked)}"] = dict(host.asked)
    assert checkout.plan(config=path) == {}
    return checkout, path, said


def test_make_new_says_what_the_archive_holds(done, images):
    said = done[2]["new"]
    n = len(images)
    for words in (
        f"{n} occurrences, 0 of them without a picture",
        f"{n + 3} media by type: StillImage {n + 3}",
        f"cc0 {n - n // 2}",
        "pictures by host: 127.0.0.1",
        "1 pictures of occurrences that the core does not have",
        "dataset.addresses.contact",
    ):
        assert words in said


def test_the_pictures_come_and_what_does_not_is_told(done, specimens, images):
    checkout, *_ = done
    found = read_table(checkout.results / "images.parquet", IMAGES)
    assert len(found) == len(images)
    assert set(found["scientific_name"]) == set(images["scientific_name"])
    for row in found.itertuples():
        original = specimens / row.address.partition("/file/pictures/")[2]
        assert (checkout.folder / "data/moths" / row.image_id).read_bytes() == original.read_bytes()
    assert set(found["licence"]) == {"cc0", "cc-by-nc"}
    assert (set(found["rights_holder"]), set(found["creator"])) == ({"The museum"}, {"Ann"})
    assert (set(found["latitude"]), set(found["longitude"])) == ({"1.5"}, {"-2"})
    reasons = read_table(checkout.results / "quarantine.parquet", QUARANTINE)["reason"]
    # Of one picture no licence is known.
    assert sorted(reasons) == ["licence", "not_fetched", "not_fetched"]
    failed = pd.read_csv(checkout.results / "not_fetched.csv")
    assert sorted(failed["reason"]) == ["HTTP 404", "sent text/html, not a picture"]
    assert len(read_table(checkout.results / "fetched.parquet", FETCHED)) == len(images) + 2


def test_only_what_failed_is_asked_for_again(done):
    again = done[2]["asked results/moths/images.parquet --forcerun fetch_pictures"]
    assert again == {"/status/404": 1, "/html/a": 1}
    assert done[2]["asked "] == {}


def test_licences_and_holders_reach_the_report_the_credits_and_the_model_card(done, images):
    checkout, path, _ = done
    page = (checkout.results / "report.html").read_text()
    assert "The strictest licence: CC BY-NC" in page
    credits = pd.read_csv(checkout.results / "credits.csv").set_index("image_id")
    assert len(credits) == len(images)
    assert set(credits["licence_as_written"]) == {"CC0_1_0", BY_NC}
    model = min(folder.name for folder in checkout.results.glob("holdout-0/checkpoints/tiny-clip.tiny-clip*"))
    card = f"results/moths/holdout-0/release/{model}/README.md"
    checkout.run(card, config=path)
    assert "the strictest is CC BY-NC" in (checkout.folder / card).read_text()


def test_another_archive_fetches_what_is_new_and_other_manners_run_nothing_again(done, host):
    checkout, path, _ = done
    config = yaml.safe_load(path.read_text())
    other = path.with_name("manners.yaml")
    changed = {"contact": "others@example.org", "connections": 2, "per_second": 5.0, "seconds": 9.0, "retries": 1}
    update(config, {"dataset": {"addresses": changed}})
    other.write_text(yaml.safe_dump(config))
    assert checkout.plan(config=other) == {}
    update(config, {"dataset": {"licences": ["cc0"]}})
    other.write_text(yaml.safe_dump(config))
    assert {"fetch_pictures", "prepare", "embed", "train"} <= set(checkout.plan(config=other))
    archive = checkout.folder / "moths.zip"
    before = archive.read_bytes()
    archive.touch()
    assert checkout.plan(config=path) == {}
    archive.write_bytes(before + b"\0")
    assert "fetch_pictures" in checkout.plan(config=path)
