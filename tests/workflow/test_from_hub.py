"""The default config from the stand-in of the hub to the first embedding, and on without it."""

import re
import shutil

import pytest
from checkout import PLAIN, TINY, Checkout
from hub.client import environment
from hub.repositories import models, vlm4bio
from hub.stand_in import Hub

from cladeclip.io.atomic import read_json
from cladeclip.io.embeddings import read_embeddings
from cladeclip.io.parquet import read_table
from cladeclip.tables import CAPTIONS, IMAGES

FROM_HUB = TINY.with_name("from_hub.yaml")
RESULTS = "results/vlm4bio"
STUDENT = "vit-b-32.vit-h-fused-internvl-k4.seed5"
WANTED = (
    f"{RESULTS}/embeddings/vit-h/fused-internvl.parquet",
    f"{RESULTS}/all/evaluation/{STUDENT}/accuracy.parquet",
)


class AtTheHub(Checkout):
    """Started as users start it: the fetch rules read at their start where the hub is."""

    SNAKEMAKE = PLAIN


@pytest.fixture(scope="module")
def hub(specimens, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    with Hub(vlm4bio(folder / "vlm4bio", specimens), *models(folder / "models")) as hub:
        yield hub


@pytest.fixture(scope="module")
def fetched(hub, specimens, tmp_path_factory):
    """A checkout in which `snakemake fetch` has been run until there was nothing left to fetch; what it said on the way."""
    checkout = AtTheHub(tmp_path_factory.mktemp("at-the-hub"), config=FROM_HUB)
    checkout.ENVIRONMENT = environment(hub, checkout.folder / "home")
    code, without_birds = checkout.snakemake("fetch")
    assert code != 0
    birds = checkout.folder / "data/vlm4bio/datasets/Bird/CUB_200_2011/images/001.A_Bird"
    birds.mkdir(parents=True)
    for path in (specimens / "Bird" / "images").iterdir():
        shutil.copy(path, birds)
    checkout.run("fetch")
    return checkout, without_birds


def test_missing_birds_stop_the_fetch_with_the_address_and_one_instruction(fetched):
    _, said = fetched
    error = next(line for line in said.splitlines() if "listed pictures are missing" in line)
    assert "18 listed pictures are missing, the first is Bird/images/" in error
    assert "CUB_200_2011.tgz" in error
    assert "Traceback" not in said


def test_everything_is_there_and_is_not_asked_for_again(fetched, hub):
    checkout, _ = fetched
    assert len(list((checkout.folder / "data/vlm4bio/datasets").glob("*/images/*"))) == 54
    hub.requests.clear()
    assert "Nothing to be done" in checkout.run("fetch")
    (checkout.folder / "data/vlm4bio/datasets/.fetched.json").unlink()
    checkout.run("fetch")
    assert not hub.requests


def test_every_record_says_which_commit_it_was(fetched, hub):
    checkout, _ = fetched
    records = sorted((checkout.folder / "weights").rglob("encoder.json"))
    records += (checkout.folder / "weights").rglob("captioner.json")
    sources = [source for path in records for source in read_json(path).get("sources", [])]
    assert len(sources) == 6
    for source in sources:
        assert source["commit"] == hub.repositories["models", source["repository"]].commit


def test_with_the_hub_gone_it_goes_on_to_a_student(fetched, hub):
    checkout, _ = fetched
    hub.__exit__()
    checkout.SNAKEMAKE = None  # the rest starts warm: it knows of no hub, and of HF_HUB_OFFLINE=1 (conftest.py)
    checkout.run(*WANTED)
    assert len(read_table(checkout.folder / RESULTS / "images.parquet", IMAGES)) == 54
    captions = read_table(checkout.folder / RESULTS / "captions/internvl.parquet", CAPTIONS)
    assert len(captions) == 54
    ids, fused = read_embeddings(checkout.folder / WANTED[0])
    assert (ids, fused.shape) == (list(captions["image_id"]), (54, 16))
    assert (checkout.folder / RESULTS / "all/checkpoints" / STUDENT / "model.safetensors").is_file()
    # What had to come from the hub and is gone is said in one sentence, not waited for.
    shutil.rmtree(checkout.folder / "weights" / "bioclip")
    code, said = checkout.snakemake("weights/bioclip/encoder.json")
    assert code != 0
    assert re.search(r"encoder 'bioclip': HF_HUB_OFFLINE is set, and the hub's cache has no imageomics/bioclip", said)
