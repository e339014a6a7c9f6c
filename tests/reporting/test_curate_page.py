"""The curator's page in headless Chromium, by keyboard, from the first list to a decisions.csv."""

import csv
import io
import statistics
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from test_report import CONFIG, HOSTILE

from cladeclip.datasets.decisions import COLUMNS, read_decisions
from cladeclip.io.parquet import write_table
from cladeclip.paths import Results
from cladeclip.reporting.curation import render_curation
from cladeclip.tables import CANDIDATES, DUPLICATES, IMAGES, OUTLIERS, PICTURES, SUSPECTS

MODEL = "handmade"
# Names that would end a script or a cell, if they were not escaped.
NAMES = ["Aus albus", "Aus ruber", HOSTILE, '</script><b>"Cus" niger, x']


def tables_below(folder, n_candidates, size):
    """A run with so many candidates of so many pictures, two of them named wrongly, two twice, and one that fits nowhere."""
    results = Results(folder / "results")
    unnamed = [f"new/{n:05d}.jpg" for n in range(n_candidates * size)]
    named = [f"old/{n}.jpg" for n in range(8)]
    images = pd.DataFrame({"image_id": [*unnamed, *named]}).assign(
        content_hash="", category="Bird", genus="", width=32, height=32
    )
    images["scientific_name"] = [""] * len(unnamed) + [NAMES[n % 4] for n in range(8)]
    images["pixel_group"] = images["content_group"] = images["image_id"]
    write_table(results.table("images"), IMAGES, images, {})
    store = folder / "results" / "store"
    store.mkdir()
    jpeg = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(jpeg, "JPEG")
    with pa.OSFile(str(store / "288.arrow"), "wb") as sink, pa.ipc.new_file(sink, PICTURES) as writer:
        rows = [pa.array(images["image_id"].tolist()), pa.array([jpeg.getvalue()] * len(images), pa.binary())]
        writer.write_batch(pa.record_batch(rows, schema=PICTURES))
    suspects = pd.DataFrame({"image_id": named[:2], "name": NAMES[:2], "suggested": NAMES[2:], "doubt": [0.9, 0.8]})
    suspects = suspects.assign(nearest_of_name=["", named[5]], nearest_of_suggested=[named[6], named[7]])
    duplicates = pd.DataFrame({"group": named[2], "image_id": named[2:4], "name": NAMES[2:], "same": "picture"})
    outliers = pd.DataFrame({"image_id": named[4:5], "name": NAMES[:1], "away": [5.0]})
    candidates = pd.DataFrame({"image_id": unnamed, "candidate": np.arange(len(unnamed)) // size + 1})
    candidates["part"] = [f"{n % size:08b}" for n in range(len(unnamed))]
    candidates = candidates.assign(rank="", answer="", nearest_species=NAMES[0], nearest_image_id=named[0], n=size)
    candidates = candidates.assign(cosine=0.5, tightness=0.9, name=[f"Aus sp. {n}" for n in candidates["candidate"]])
    for contract, table in (
        (SUSPECTS, suspects),
        (DUPLICATES, duplicates.assign(correlation=0.95)),
        (OUTLIERS, outliers),
        (CANDIDATES, candidates),
    ):
        write_table(results.curation("holdout-0", MODEL, f"{contract.name}.parquet"), contract, table, {})
    return results


def written(results, folder, decisions="", **curate):
    config = CONFIG | {
        "dataset": CONFIG["dataset"] | {"decisions": str(decisions)},
        "curate": CONFIG["curate"] | curate,
    }
    path = folder / "curate.html"
    path.write_text(render_curation(results, config, "holdout-0", MODEL, words="hand-made features"), encoding="utf-8")
    return path


@pytest.fixture
def curator(browser, tmp_path):
    """Opens pages in one browser's profile, and checks in the end that nothing went wrong and nothing was asked for."""
    said, asked, allowed = [], [], set()
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)

    def opens(path):
        page = context.new_page()
        allowed.add(path.as_uri())
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".card.current h2")
        return page

    yield opens
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:")) and url not in allowed] == []


def saved(page, folder):
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(folder / "decisions.csv")
    return folder / "decisions.csv"


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def tabs(page):
    return {tab.get_attribute("data-list"): tab.inner_text() for tab in page.locator("#tabs button").all()}


def current(page):
    return page.locator(".card.current h2").inner_text()


def test_by_keyboard_from_the_first_list_to_the_file(curator, tmp_path):
    page = curator(written(tables_below(tmp_path, 3, 4), tmp_path))
    assert current(page) == "Aus sp. 1: 4 pictures"
    press(page, "a")
    assert current(page) == "Aus sp. 2: 4 pictures"
    # The third of its pictures is marked, and gets another name; the rest the one that is shown.
    page.locator(".card.current .shown button").nth(2).click()
    press(page, "r")
    page.keyboard.type('Bus "niger", x')
    press(page, "Enter", "a")
    assert current(page) == "Aus sp. 3: 4 pictures"
    press(page, "x", "2")
    assert current(page) == f"{NAMES[0]}, or {NAMES[2]}?"
    press(page, "a", "k", "3", "a", "4", "k")
    assert all(": 0 of" in words for words in tabs(page).values())
    file = saved(page, tmp_path)
    rows = list(csv.DictReader(file.open(newline="")))
    assert list(rows[0]) == list(COLUMNS)
    assert all(row["when"].endswith("Z") for row in rows)
    found = read_decisions(file)
    new = [f"new/{n:05d}.jpg" for n in range(12)]
    names = dict.fromkeys(new[:4], "Aus sp. 1") | dict.fromkeys(new[4:8], "Aus sp. 2") | {new[6]: 'Bus "niger", x'}
    assert found.names == names | {"old/0.jpg": NAMES[2]}
    assert found.excluded == dict.fromkeys(new[8:], "not a specimen") | {"old/3.jpg": "shows the same as old/2.jpg"}
    assert found.kept == {"old/1.jpg", "old/2.jpg", "old/4.jpg"}


def test_candidates_are_split_merged_and_taken_out_of_and_all_is_undone(curator, tmp_path):
    page = curator(written(tables_below(tmp_path, 2, 4), tmp_path))
    sizes = "[...document.querySelectorAll('.card')].map(card => card.querySelectorAll('.shown figure:not(.beside)').length)"

    def shown():
        page.wait_for_timeout(200)  # cards are filled when they come near the window
        return page.evaluate(sizes)

    assert shown() == [4, 4]
    press(page, "s")
    assert shown() == [2, 2, 4]
    press(page, "s")
    assert shown() == [1, 1, 2, 4]
    press(page, "s")  # one picture alone: nothing to split
    assert shown() == [1, 1, 2, 4]
    # The first is merged with the third.
    press(page, "m", "ArrowDown", "ArrowDown", "m")
    assert shown() == [1, 3, 4]
    press(page, "ArrowDown", "ArrowDown")
    page.locator(".card.current .shown button").nth(0).click()
    press(page, "o")
    assert shown() == [1, 3, 3, 1]
    press(page, "a")
    assert "7 of 8" not in page.locator("#done").inner_text()
    assert tabs(page)["candidates"].startswith("Candidate species: 3 of 4")
    press(page, *"uuuuuu")
    assert shown() == [4, 4]
    assert page.locator("#undo").is_disabled()
    press(page, "u")
    assert read_decisions(saved(page, tmp_path)).names == {}


def test_what_was_decided_is_there_when_the_page_is_opened_again_and_a_later_page_does_not_ask_again(curator, tmp_path):
    results = tables_below(tmp_path, 3, 4)
    path = written(results, tmp_path)
    page = curator(path)
    press(page, "a", "s")
    page.close()
    page = curator(path)
    assert tabs(page)["candidates"].startswith("Candidate species: 3 of 4")
    assert page.locator("#done").inner_text() == "4 pictures decided."
    file = saved(page, tmp_path)
    page.close()
    # The next page was made with the file: its lists are others, and the file that it saves begins with the earlier rows.
    page = curator(written(results, tmp_path, decisions=file))
    assert tabs(page)["candidates"].startswith("Candidate species: 2 of 2")
    assert page.locator("#done").inner_text() == "0 pictures decided."
    assert "On 4 pictures decisions were read" in page.inner_text("header")
    press(page, "a")
    assert len(read_decisions(saved(page, tmp_path)).names) == 8


def test_decisions_of_an_earlier_page_that_no_file_has_are_kept(curator, tmp_path):
    results = tables_below(tmp_path, 3, 4)
    page = curator(written(results, tmp_path))
    press(page, "s", "a")
    page.close()
    other = pd.read_parquet(results.curation("holdout-0", MODEL, "candidates.parquet"))
    other["candidate"] = 4 - other["candidate"]
    write_table(results.curation("holdout-0", MODEL, "candidates.parquet"), CANDIDATES, other, {})
    page = curator(written(results, tmp_path))
    found = read_decisions(saved(page, tmp_path)).names
    assert found == dict.fromkeys(["new/00000.jpg", "new/00001.jpg"], "Aus sp. 1")


def test_the_parts_of_a_candidate_are_two_species(curator, tmp_path):
    page = curator(written(tables_below(tmp_path, 2, 4), tmp_path))
    press(page, "s")
    assert current(page) == "Aus sp. 1: 2 pictures"
    assert page.locator(".card.current .words").inner_text() == ""  # the numbers were the whole's
    press(page, "a", "a", "a")
    names = read_decisions(saved(page, tmp_path)).names
    assert list(names.values()) == ["Aus sp. 1"] * 2 + ["Aus sp. 3"] * 2 + ["Aus sp. 2"] * 4


def test_a_decision_that_was_changed_after_the_file_was_saved_is_the_one_that_counts(curator, tmp_path):
    results = tables_below(tmp_path, 2, 4)
    page = curator(written(results, tmp_path))
    press(page, "2", "a")
    file = saved(page, tmp_path)
    press(page, "u", "k")
    page.close()
    page = curator(written(results, tmp_path, decisions=file))
    found = read_decisions(saved(page, tmp_path))
    assert (found.names, found.kept) == ({}, {"old/0.jpg"})


def test_what_a_file_decided_of_a_card_is_shown_and_not_decided_again(curator, tmp_path):
    file = tmp_path / "before.csv"
    file.write_text("image_id,decision,name\nnew/00000.jpg,name,Cus novus\nold/2.jpg,exclude,\n")
    page = curator(written(tables_below(tmp_path, 1, 4), tmp_path, decisions=file))
    assert "→ Cus novus" in page.inner_text(".card.current")
    press(page, "a", "3", "a")
    found = read_decisions(saved(page, tmp_path))
    assert found.names == {"new/00000.jpg": "Cus novus"} | {f"new/0000{n}.jpg": "Aus sp. 1" for n in (1, 2, 3)}
    # The first of the pair was left out before: the other one stays.
    assert (set(found.excluded), found.kept) == ({"old/2.jpg"}, {"old/3.jpg"})


def test_a_pair_is_one_decision_and_nothing_is_decided_where_nothing_is_open(curator, tmp_path):
    page = curator(written(tables_below(tmp_path, 1, 3), tmp_path))
    press(page, "3", "a", "a", "a")
    assert page.locator("#done").inner_text() == "2 pictures decided."
    press(page, "u")
    assert page.locator("#done").inner_text() == "0 pictures decided."


def test_two_windows_of_a_page_are_one(curator, tmp_path):
    """What the one did is shown in the other before anything is done there."""
    path = written(tables_below(tmp_path, 3, 4), tmp_path)
    one, other = curator(path), curator(path)
    press(one, "a")
    other.bring_to_front()
    while other.locator("#done").inner_text() != "8 pictures decided.":
        press(other, "x")
    one.bring_to_front()
    while one.locator("#done").inner_text() != "12 pictures decided.":
        press(one, "a")
    found = read_decisions(saved(one, tmp_path))
    assert (len(found.names), len(found.excluded)) == (8, 4)


def test_marks_are_of_one_card(curator, tmp_path):
    page = curator(written(tables_below(tmp_path, 2, 4), tmp_path))
    page.locator(".card").nth(0).locator(".shown button").nth(1).click()
    page.locator(".card").nth(1).locator("[data-action=accept]").click()
    assert page.locator("#done").inner_text() == "4 pictures decided."
    assert page.locator("[aria-pressed=true]").count() == 0


def test_where_the_browser_keeps_nothing_it_is_said(browser, tmp_path):
    path = written(tables_below(tmp_path, 1, 3), tmp_path)
    page = browser.new_page()
    page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    page.goto(path.as_uri())
    press(page, "a")
    assert "save the file before you close" in page.locator("#done").inner_text()
    page.close()


def test_nothing_of_the_data_is_obeyed_and_nothing_in_the_way_of_people(curator, tmp_path):
    page = curator(written(tables_below(tmp_path, 1, 3), tmp_path))
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    for tab in "1234":
        press(page, tab)
        page.wait_for_timeout(200)
        assert page.evaluate("[...document.images].filter(image => image.hasAttribute('onerror')).length") == 0
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    press(page, "2")
    assert HOSTILE in page.inner_text("main")


def test_pictures_for_which_there_is_no_room_are_left_out_from_the_end(curator, tmp_path):
    results = tables_below(tmp_path, 1, 3)
    whole = written(results, tmp_path).stat().st_size
    one = 64 * 48 // 8
    path = written(results, tmp_path, max_mb=2 * one / 1e6)
    assert path.stat().st_size < whole
    page = curator(path)
    assert "there was no room" in page.inner_text("header")
    press(page, "a")
    assert page.locator("#done").inner_text() == "3 pictures decided."


def test_thousands_of_pictures_stay_fluid(curator, tmp_path):
    """Beside a page of a hundredth of them: an action takes about as long."""
    seconds = {}
    for n in (5, 500):
        (tmp_path / str(n)).mkdir()
        page = curator(written(tables_below(tmp_path / str(n), n, 10), tmp_path / str(n)))
        taken = []
        for _ in range(4):
            begun = time.perf_counter()
            press(page, "a")
            page.evaluate("new Promise(requestAnimationFrame)")
            taken.append(time.perf_counter() - begun)
        seconds[n] = statistics.median(taken)
        page.close()
    print({n: f"{1000 * taken:.0f} ms" for n, taken in seconds.items()})
    assert seconds[500] < 5 * max(seconds[5], 0.02)
