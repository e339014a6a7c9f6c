"""The report in a real browser: headless Chromium opens the file, and does with it what a reader would do."""

import json
import re
import shutil
import time
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from test_gallery_section import EVALUATED
from test_hierarchy_section import OPEN, opened  # noqa: F401 (a fixture)
from test_report import CONFIG, HOSTILE, results_of

from cladeclip.io.parquet import write_table
from cladeclip.paths import Results
from cladeclip.reporting.comparison import changes_by_training, comparison_table
from cladeclip.reporting.findings import summarise
from cladeclip.reporting.report import render_report
from cladeclip.tables import CHANGES, COMPARISON, EMBEDDINGS_MAP, IMAGES

# What the tests read of a table: the rows that are shown, and a column's texts.
READING = """(() => {
window.shown = id => [...document.getElementById(id).tBodies[0].rows].filter(row => !row.hidden);
window.cells = (id, column) => shown(id).map(row => row.cells[column].firstChild?.textContent.trim());
})()"""
# A canvas with 10,000 circles, drawn as a page without any library would draw them: milliseconds until the frame is shown.
BARE_DRAWING = """async () => {
const canvas = document.createElement("canvas");
Object.assign(canvas, { width: 900, height: 600, style: "position: fixed; top: 0; left: 0" });
document.body.append(canvas);
const context = canvas.getContext("2d"), start = performance.now();
for (let place = 0; place < 10000; place++) {
    context.beginPath();
    context.arc((place * 7919) % 900, (place * 104729) % 600, 3, 0, 7);
    context.fillStyle = `hsl(${place % 360} 50% 50%)`;
    context.fill();
    context.stroke();
}
context.getImageData(0, 0, 1, 1);
await new Promise(requestAnimationFrame);
const taken = performance.now() - start;
canvas.remove();
return taken;
}"""


def bare_drawing(page):
    """Seconds of it, the least of three: how fast this browser is on this machine, just now."""
    return min(page.evaluate(BARE_DRAWING) for _ in range(3)) / 1000


@pytest.fixture(scope="module")
def file(opened, tmp_path_factory):  # noqa: F811
    config = OPEN | {"eval": EVALUATED["eval"]}
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_report(Results(opened), config, summarise(Results(opened), config)).page, encoding="utf-8")
    return path


@pytest.fixture
def read(browser, file):
    """Opens the report as a reader with this window and taste would, and checks in the end that nothing went wrong."""
    contexts, said, asked, allowed = [], [], [], set()

    def opens(path=file, width=1280, scheme="light", strict=True):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        allowed.add(path.as_uri())
        if strict:
            page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        if page.locator("#map").count():
            page.wait_for_selector("#map[data-drawn]")
        page.evaluate(READING)
        return page

    yield opens
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:")) and url not in allowed] == []


def test_it_opens_without_an_error_or_a_request(read):
    page = read()
    assert page.locator(".chart svg").count() == 7
    assert page.locator("#map canvas").count() == 1
    assert page.evaluate("[...document.images].filter(image => image.complete && !image.naturalWidth).length") == 0
    assert page.evaluate("[...document.images].filter(image => image.hasAttribute('onerror')).length") == 0
    text = page.evaluate("document.body.textContent")
    assert HOSTILE in text
    assert "</script>" in text  # from a quarantined picture's detail: shown, not obeyed


def test_no_text_of_a_chart_is_cut_off_in_the_font_of_the_reader(read):
    """Debian's Chromium without Arial takes DejaVu Sans, the widest that is common."""
    cut = read().evaluate(
        """() => [...document.querySelectorAll(".chart svg")].flatMap(svg => {
        const whole = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter(text => {
            const part = text.getBoundingClientRect();
            return part.right > whole.right || part.left < whole.left;
        }).map(text => text.textContent);
        })"""
    )
    assert cut == []


def test_its_policy_lets_no_other_script_style_or_request_through(read):
    page = read(strict=False)  # what is refused is said on the console
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    foreign = page.evaluate(
        """async () => {
        const script = document.createElement("script"); script.textContent = "window.foreign = true";
        document.body.append(script);
        const fetched = await fetch("https://example.org/").then(() => true, () => false);
        return [window.foreign === true, fetched];
        }"""
    )
    assert foreign == [False, False]


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1280, "light")])
def test_axe_finds_no_serious_violation(read, width, scheme):
    page = read(width=width, scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []


def test_tables_are_sorted_filtered_and_searched(read):
    page = read()
    for column in range(4):
        page.locator(f'[data-table="comparison"] [data-filter="{column}"]').evaluate(
            "element => { element.value = ''; element.dispatchEvent(new Event('input')); }"
        )
    n_rows = page.evaluate("shown('comparison').length")
    page.select_option('[data-table="comparison"] [data-filter="1"]', "genus")
    assert set(page.evaluate("cells('comparison', 1)")) == {"genus"}
    page.select_option('[data-table="comparison"] [data-filter="1"]', "")
    page.fill('[data-table="comparison"] [data-filter="3"]', "K9.SEED5")
    models = page.evaluate("shown('comparison').map(row => row.cells[3].querySelector('code').textContent)")
    assert len(set(models)) == 2
    assert all("k9.seed5" in model for model in models)
    page.fill('[data-table="comparison"] [data-filter="3"]', "")
    head = page.locator("#comparison thead th").nth(4)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = [float(text) for text in page.evaluate("cells('comparison', 4)")]
    assert len(up) == n_rows > 0
    assert up == sorted(up)
    head.locator("button").press("Enter")  # by the keyboard
    assert [float(text) for text in page.evaluate("cells('comparison', 4)")] == up[::-1]
    assert head.get_attribute("aria-sort") == "descending"


def test_every_long_table_can_be_searched(read):
    page = read()
    for table in page.locator("table").all():
        rows, name = table.locator("tbody tr").count(), table.get_attribute("id")
        if rows > 12:
            assert page.locator(f'[data-table="{name}"] input[type=search]').count() == 1, name


def test_the_rows_shown_can_be_copied(read):
    page = read()
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async text => { window.copied = text; } } })"
    )
    page.select_option('[data-table="classes"] [data-filter="0"]', "species")
    tools = page.locator(".tools", has=page.locator("xpath=following-sibling::*[1]//table[@id='classes']"))
    copied = {}
    for button in tools.locator("button").all():
        button.click()
        page.wait_for_timeout(50)
        copied[button.text_content()] = page.evaluate("window.copied")
    n_rows = page.evaluate("shown('classes').length")
    lines = copied["CSV"].split("\n")
    assert len(lines) == n_rows + 1
    assert lines[0].startswith('"rank","name","queries"')
    assert f'"{HOSTILE}"' in copied["CSV"]
    assert "\\<img src=x" in copied["Markdown"]
    assert copied["Markdown"].split("\n")[1].count("---") == lines[0].count(",") + 1
    assert copied["LaTeX"].startswith("\\begin{tabular}{llllll}")
    assert copied["LaTeX"].count("\\\\") == len(lines)
    assert tools.locator("[role=status]").text_content() == f"{n_rows} rows copied as LaTeX."


def test_the_clipboards_texts_cannot_be_formulas_or_markup(read):
    page = read()
    rows = [["name", "n"], ["=cmd()", "-1.5"], ['say "a|b"', "+3.0 (1–2)"], ["50 % & #_{}~^\\", ""]]
    found = page.evaluate(
        "rows => Object.fromEntries(Object.keys(FORMATS).map(name => [name, FORMATS[name](rows)]))", rows
    )
    assert found["CSV"].split("\n")[1:] == ['"\'=cmd()","-1.5"', '"say ""a|b""","+3.0 (1–2)"', '"50 % & #_{}~^\\",""']
    assert r"say " + '"a' + r"\|b" in found["Markdown"]
    assert r"50 \% \& \#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in found["LaTeX"]


def saved(page, button):
    page.wait_for_timeout(150)  # Chromium lets no more than ten downloads a second through
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, download.value.path().read_text(encoding="utf-8")


def test_charts_are_saved_as_svg_and_their_numbers_as_csv(read):
    page, names = read(), []
    for figure in page.locator("figure:has(.chart)").all():
        buttons = figure.locator(".tools button")
        name, text = saved(page, buttons.nth(0))
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        table_name, numbers = saved(page, buttons.nth(1))
        assert (name.removesuffix(".svg"), name[-4:]) == (table_name.removesuffix(".csv"), ".svg")
        assert numbers.count("\n") > 1
        names.append(name)
    assert len(names) == len(set(names)) == 7


def test_the_settings_are_saved_as_they_were(read):
    page = read()
    name, text = saved(page, page.get_by_role("button", name="Save as settings.json"))
    assert name == "settings.json"
    assert json.loads(text)["report"]["primary"] == CONFIG["report"]["primary"]


def place_of(page, index):
    """Where on the screen the map draws a picture's point."""
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map canvas").bounding_box()
    data = json.loads(page.locator("#map-data").text_content())["map"]
    x, y = (axis[index] for axis in data["models"][0]["tsne"])
    low, high = next(scale["domain"] for scale in data["spec"]["scales"] if scale["name"] == "x")
    share_x, share_y = (x - low) / (high - low), 1 - (y - low) / (high - low)
    # Vega leaves 5 pixels around what it draws.
    return (
        box["x"] + 5 + share_x * (box["width"] - 10),
        box["y"] + 5 + share_y * (box["height"] - 10),
        data["images"][index],
    )


def test_pointing_at_the_map_shows_the_picture_and_its_name_as_text(read, opened):  # noqa: F811
    page = read()
    images = pd.read_parquet(opened / "images.parquet").sort_values("image_id").reset_index()
    hostile = int(images.index[images["scientific_name"] == HOSTILE][0])
    x, y, (image_id, name, _) = place_of(page, hostile)
    page.mouse.move(x, y)
    page.wait_for_selector("#tip:not([hidden])")
    tip = page.locator("#tip")
    assert name in tip.inner_text()
    assert tip.locator("small").inner_text().startswith("Fish/" if image_id.startswith("Fish") else "")
    assert tip.locator("img").count() == 1
    assert tip.locator("img").get_attribute("src").startswith("data:image/webp")
    page.mouse.move(2, 2)
    page.wait_for_selector("#tip[hidden]", state="attached")


def pixels(page):
    return page.locator("#map canvas").evaluate("canvas => canvas.toDataURL()")


def test_the_map_changes_with_the_encoder_the_method_the_colour_and_the_search(read):
    page = read()
    seen = [pixels(page)]
    for control, value in (("model", "1"), ("method", "pca"), ("colour", "species")):
        page.select_option(f"#map-{control}", value)
        page.wait_for_timeout(100)
        seen.append(pixels(page))
    assert page.locator("#map-legend").inner_text().endswith("point at one to read its name.")
    page.fill("#map-search", "rubra")
    page.wait_for_timeout(100)
    seen.append(pixels(page))
    assert len(set(seen)) == len(seen)
    page.select_option("#map-colour", "category")
    assert page.locator("#map-legend span").count() == 3
    name, text = saved(page, page.get_by_role("button", name="Save its points as CSV"))
    assert name == "map-of-embeddings.csv"
    assert len(text.split("\n")) == 1 + len(json.loads(page.locator("#map-data").text_content())["map"]["images"])
    _, text = saved(page, page.locator("#map-tools button").first)
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(read, width):
    page = read(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_dark_where_the_reader_wants_that(read):
    colours = {}
    for scheme in ("light", "dark"):
        page = read(scheme=scheme)
        colours[scheme] = page.evaluate(
            """[document.body, document.querySelector(".chart text")].map(element => getComputedStyle(element)).flatMap(
            style => [style.backgroundColor, style.color])"""
        )
    assert (colours["light"][0], colours["dark"][0]) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")
    assert colours["light"][1] != colours["dark"][1]
    assert colours["dark"][3] == colours["dark"][1]  # charts are drawn in the page's own ink


def test_the_keyboard_reaches_what_is_wider_than_the_page(read):
    page = read(width=400)
    area = page.locator(".scroll", has=page.locator("#comparison"))
    area.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert area.evaluate("element => element.scrollLeft") > 0
    assert area.get_attribute("aria-label") == "All models"


def test_it_prints(read):
    page = read()
    page.emulate_media(media="print")
    assert page.locator(".tools").first.is_hidden()
    assert page.pdf().startswith(b"%PDF")


@pytest.fixture(scope="module")
def large(images, tmp_path_factory):
    """60 models and 740 species, drawn by chance."""
    folder = tmp_path_factory.mktemp("large")
    n_species = 740
    names = [f"Genus{place // 3} species{place}" for place in range(n_species)]
    rows = images.iloc[np.arange(4 * n_species) % len(images)].reset_index(drop=True)
    rows["image_id"] = [f"Fish/images/{place:05d}.jpg" for place in range(len(rows))]
    rows["content_group"] = rows["content_hash"] = rows["image_id"]
    rows["scientific_name"] = np.repeat(names, 4)
    rows["genus"] = rows["scientific_name"].str.partition(" ")[0]
    rows["category"] = np.repeat(["Fish", "Bird", "Butterfly", "Beetle"], n_species)
    first = "vit-b-32.handmade-image-k9.seed5"
    results_of(folder, rows, {first: 1.5, "vit-b-32.random-k9.seed5": 3.0, "vit-b-32": 3.0, "handmade": 0.5})
    # The other students are copies of the first, which takes seconds in place of a minute.
    ks = [9 + place for place in range(57)]
    split = folder / "holdout-0"
    for k in ks[1:]:
        for below in ("evaluation", "embeddings", "checkpoints"):
            shutil.copytree(split / below / first, split / below / first.replace("k9", f"k{k}"))
        for kind in ("quality.json", "parquet"):
            labels = split / "clusters" / f"handmade-image-k9.{kind}"
            shutil.copyfile(labels, labels.with_name(f"handmade-image-k{k}.{kind}"))
    models = [("holdout-0", path.name) for path in sorted((split / "evaluation").iterdir())]
    write_table(folder / "comparison.parquet", COMPARISON, comparison_table(Results(folder), models), {})
    trained = [(split, model) for split, model in models if "seed" in model]
    write_table(folder / "changes.parquet", CHANGES, changes_by_training(Results(folder), trained), {})
    config = CONFIG | {"labels": {**CONFIG["labels"], "k": ks}}
    return folder, config


def test_with_60_models_and_740_species_it_opens_in_3_seconds_below_its_budget(large, read, tmp_path):
    folder, config = large
    path = tmp_path / "report.html"
    report = render_report(Results(folder), config, summarise(Results(folder), config))
    path.write_text(report.page, encoding="utf-8")
    assert path.stat().st_size < 1e6 * config["report"]["max_mb"]
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        page = read(path)
        seconds.append(time.monotonic() - start)
    assert page.locator("#classes tbody tr").count() >= 740
    assert len(set(page.evaluate("cells('comparison', 3)"))) == 60
    # Three seconds; where the browser draws more slowly than 10,000 circles in 0.08 s, the machine is the slower one.
    slower = max(1, bare_drawing(page) / 0.08)
    assert min(seconds) < 3 * slower, (seconds, slower)
    start = time.monotonic()
    page.locator("#classes thead th").nth(3).locator("button").click()
    page.fill('[data-table="classes"] [data-filter="1"]', "species73")
    assert page.evaluate("shown('classes').length") == 11
    assert time.monotonic() - start < 2 * slower
    assert len(re.findall("<tr", report.page)) > 60


@pytest.fixture(scope="module")
def crowded(opened, tmp_path_factory):  # noqa: F811
    """The run of `opened` with 10,000 pictures on its map, most of them without a picture to show."""
    folder = tmp_path_factory.mktemp("crowded") / "results"
    shutil.copytree(opened, folder)
    images = pd.read_parquet(folder / "images.parquet")
    more = images.iloc[np.arange(10_000 - len(images)) % len(images)].copy()
    more["image_id"] = more["content_group"] = [f"More/{place:05d}.jpg" for place in range(len(more))]
    write_table(folder / "images.parquet", IMAGES, pd.concat([images, more]), {})
    table = pd.read_parquet(folder / "embeddings_map.parquet")
    rng, maps = np.random.default_rng(0), []
    for model in dict.fromkeys(table["model"]):
        places = pd.DataFrame(rng.normal(size=(10_000, 4)).astype(np.float32), columns=table.columns[2:])
        maps.append(places.assign(model=model, image_id=[*images["image_id"], *more["image_id"]]))
    write_table(folder / "embeddings_map.parquet", EMBEDDINGS_MAP, pd.concat(maps), {})
    return folder


def test_10000_points_stay_fluid(crowded, read, tmp_path):
    config = OPEN | {"eval": EVALUATED["eval"]}
    path = tmp_path / "report.html"
    path.write_text(render_report(Results(crowded), config, summarise(Results(crowded), config)).page, encoding="utf-8")
    page = read(path)
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)

    def per_step(step):
        start = time.monotonic()
        for place in range(20):
            step(place)
            page.evaluate("new Promise(requestAnimationFrame)")
        return (time.monotonic() - start) / 20

    tries, bare = [], []
    for _ in range(3):
        seconds = {
            "pointing": per_step(lambda place: page.mouse.move(middle[0] + 4 * place, middle[1] + place)),
            "zooming": per_step(lambda place: page.mouse.wheel(0, -20)),
        }
        page.mouse.down()
        seconds["moving"] = per_step(lambda place: page.mouse.move(middle[0] - 3 * place, middle[1]))
        page.mouse.up()
        tries.append(seconds)
        bare.append(bare_drawing(page))
    # A step takes as long as drawing as many circles without any library, a fourteenth of a second without a GPU; the
    # best of three, for a machine that has other things to do as well.
    assert min(max(seconds.values()) for seconds in tries) < 3 * min(bare), (tries, bare)
