"""The report in a real browser: headless Chromium opens the file and runs a script that does what a reader would do."""

import html
import json
import re
import shutil
import subprocess

import pytest
from test_gallery_section import EVALUATED
from test_hierarchy_section import OPEN, opened  # noqa: F401 (a fixture)
from test_report import HOSTILE

from cladeclip.reporting.report import render_report, summarise

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
    "--enable-logging=stderr",
    "--v=0",
]
# What the reader does stands between these; the findings go into an element that --dump-dom prints.
ACTOR = """<script>
addEventListener("load", async () => {
  const found = {};
  const shown = table => [...table.tBodies[0].rows].filter(row => !row.hidden);
  const cells = (table, column) => shown(table).map(row => row.cells[column].firstChild?.textContent.trim());
  const choose = (table, column, value) => {
    const filter = document.querySelector(`[data-table="${table.id}"] [data-filter="${column}"]`);
    filter.value = value; filter.dispatchEvent(new Event("input"));
  };
  try { %s } catch (error) { found.error = String(error); }
  document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) }));
});
</script></body>"""


@pytest.fixture(scope="module")
def page(opened):  # noqa: F811
    config = OPEN | {"eval": EVALUATED["eval"]}
    return render_report(opened, config, summarise(opened, config))


def act(page, folder, script, *flags):
    """Opens the page, runs the script on it, and gives what it found and what Chromium logged."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    path = folder / "report.html"
    path.write_text(page.replace("</body>", ACTOR % script), encoding="utf-8")
    command = [BROWSER, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1]))
    assert "error" not in found, found["error"]
    return found, done.stderr


def test_it_opens_without_an_error_or_a_request(page, tmp_path):
    found, said = act(
        page,
        tmp_path,
        """
        found.tables = document.querySelectorAll("table.sorted").length;
        found.charts = document.querySelectorAll(".chart > svg").length;
        found.scripts = document.scripts.length;
        found.hostile = [...document.images].filter(image => image.onerror || image.hasAttribute("onerror")).length;
        found.broken = [...document.images].filter(image => image.complete && !image.naturalWidth).length;
        found.requests = performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length;
        found.text = document.body.textContent;
        """,
    )
    assert "CONSOLE" not in said, said
    assert (found["tables"], found["charts"], found["scripts"]) == (3, 5, 2)  # one of the scripts is the reader
    assert found["hostile"] == found["broken"] == found["requests"] == 0
    assert HOSTILE in found["text"]
    assert "</script>" in found["text"]  # from a quarantined picture's detail: shown, not obeyed


def test_tables_are_sorted_filtered_and_searched(page, tmp_path):
    found, _ = act(
        page,
        tmp_path,
        """
        const table = document.getElementById("comparison");
        for (const column of [0, 1, 2, 3]) choose(table, column, "");
        found.all = shown(table).length;
        choose(table, 1, "genus");
        found.ranks = [...new Set(cells(table, 1))];
        choose(table, 1, ""); choose(table, 3, "K9.SEED5");
        found.models = [...new Set(shown(table).map(row => row.cells[3].querySelector("code").textContent))];
        choose(table, 3, "");
        const head = table.tHead.rows[0].cells[4];
        head.querySelector("button").click();
        found.up = cells(table, 4).map(Number); found.said = head.getAttribute("aria-sort");
        head.querySelector("button").click();
        found.down = cells(table, 4).map(Number);
        """,
    )
    assert found["ranks"] == ["genus"]
    assert len(found["models"]) == 2
    assert all("k9.seed5" in model for model in found["models"])
    assert len(found["up"]) == found["all"] > 0
    assert found["up"] == sorted(found["up"])
    assert found["down"] == sorted(found["up"], reverse=True)
    assert found["said"] == "ascending"


def test_the_rows_shown_can_be_copied(page, tmp_path):
    found, _ = act(
        page,
        tmp_path,
        """
        let copied = null;
        Object.defineProperty(navigator, "clipboard", { value: { writeText: async text => { copied = text; } } });
        const table = document.getElementById("classes");
        choose(table, 0, "species");
        const tools = table.closest(".scroll").previousElementSibling;
        for (const button of tools.querySelectorAll("button")) {
          button.click(); await new Promise(done => setTimeout(done, 20));
          found[button.textContent] = copied;
        }
        found.rows = shown(table).length; found.status = tools.querySelector("[role=status]").textContent;
        """,
    )
    lines = found["CSV"].split("\n")
    assert len(lines) == found["rows"] + 1
    assert lines[0].startswith('"rank","name","queries"')
    assert f'"{HOSTILE}"' in found["CSV"]
    assert "\\<img src=x" in found["Markdown"]
    assert found["Markdown"].split("\n")[1].count("---") == lines[0].count(",") + 1
    assert found["LaTeX"].startswith("\\begin{tabular}{llllll}")
    assert found["LaTeX"].count("\\\\") == len(lines)
    assert found["status"] == f"{found['rows']} rows copied as LaTeX."


def test_the_clipboards_texts_cannot_be_formulas_or_markup(page, tmp_path):
    found, _ = act(
        page,
        tmp_path,
        r"""
        const rows = [["name", "n"], ["=cmd()", "-1.5"], ['say "a|b"', "+3.0 (1–2)"], ["50 % & #_{}~^\\", ""]];
        for (const name in FORMATS) found[name] = FORMATS[name](rows);
        """,
    )
    assert found["CSV"].split("\n")[1:] == ['"\'=cmd()","-1.5"', '"say ""a|b""","+3.0 (1–2)"', '"50 % & #_{}~^\\",""']
    assert r"say " + '"a' + r"\|b" in found["Markdown"]
    assert r"50 \% \& \#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in found["LaTeX"]


def test_charts_are_saved_as_whole_svg_files(page, tmp_path):
    found, _ = act(
        page,
        tmp_path,
        """
        const saved = [];
        URL.createObjectURL = blob => { saved.push(blob); return "#"; };
        const names = [];
        HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
        for (const button of document.querySelectorAll(".chart + .tools button")) button.click();
        found.names = names; found.texts = await Promise.all(saved.map(blob => blob.text()));
        """,
    )
    assert len(found["names"]) == len(set(found["names"])) == 5
    assert all(name.endswith(".svg") for name in found["names"])
    for text in found["texts"]:
        assert text.startswith("<svg")
        assert 'xmlns="http://www.w3.org/2000/svg"' in text


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(page, tmp_path, width):
    # Chromium's windows are 500 pixels wide at least: the page is made narrow instead.
    script = f"""
        Object.assign(document.body.style, {{ width: "{width}px", margin: "0", boxSizing: "border-box" }});
        found.wide = document.body.scrollWidth;
        """
    found, _ = act(page, tmp_path, script, "--window-size=1400,900")
    assert found["wide"] <= width


def test_it_is_dark_where_the_reader_wants_that(page, tmp_path):
    script = """
        const colours = getComputedStyle(document.body);
        found.paper = colours.backgroundColor; found.ink = colours.color;
        """
    light, _ = act(page, tmp_path, script)
    dark, _ = act(page, tmp_path, script, "--blink-settings=preferredColorScheme=0")
    assert (light["paper"], dark["paper"]) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")
    assert light["ink"] != dark["ink"]
