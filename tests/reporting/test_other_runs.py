import pandas as pd
import pytest
from test_report import CONFIG, SPREAD, results_of

from cladeclip.errors import TableError
from cladeclip.paths import Results
from cladeclip.reporting.comparison import Primary
from cladeclip.reporting.findings import summarise
from cladeclip.reporting.report import render_report
from cladeclip.reporting.sections.others import other_runs_section

PRIMARY = Primary(**CONFIG["report"]["primary"])


@pytest.fixture(scope="module")
def runs(images, tmp_path_factory):
    here, there = (tmp_path_factory.mktemp(name) for name in ("here", "there"))
    results_of(here, images, SPREAD)
    results_of(there, images, {**SPREAD, "vit-b-32": 0.5})
    return here, there


def test_a_run_does_not_differ_from_itself(runs):
    comparison = pd.read_parquet(runs[0] / "comparison.parquet")
    rows = other_runs_section(comparison, [str(runs[0])], PRIMARY)
    assert len(rows) == len(comparison)
    assert {row["difference"] for row in rows} == {0.0}
    assert all(row["here"] == row["there"] for row in rows)


def test_differences_are_those_of_the_two_tables(runs):
    tables = [pd.read_parquet(run / "comparison.parquet") for run in runs]
    key = ["split", "column", "taxa", "model"]
    here, there = (table.set_index(key)["accuracy_individual"] for table in tables)
    rows = other_runs_section(tables[0], [str(runs[1])], PRIMARY)
    for row in rows:
        place = tuple(row[name] for name in key)
        assert row["difference"] == pytest.approx(here[place] - there[place])
    assert any(row["difference"] for row in rows)


def test_a_model_of_one_run_alone_is_shown_without_a_difference(runs):
    comparison = pd.read_parquet(runs[0] / "comparison.parquet")
    rows = other_runs_section(comparison[comparison["model"] != "handmade"], [str(runs[1])], PRIMARY)
    alone = [row for row in rows if row["model"] == "handmade"]
    assert alone
    assert all(row["difference"] is None and row["here"]["accuracy"] is None for row in alone)
    assert all(row["there"]["n_query"] > 0 for row in alone)


def test_the_page_shows_them_and_names_a_run_that_is_not_there(runs):
    config = CONFIG | {"report": {**CONFIG["report"], "also": [str(runs[1])]}}
    text = render_report(Results(runs[0]), config, summarise(Results(runs[0]), config)).page
    assert "Beside other runs" in text
    assert text.count(f"<td>{runs[1]}</td>") == len(pd.read_parquet(runs[0] / "comparison.parquet"))
    config["report"]["also"] = ["results/nowhere"]
    with pytest.raises(TableError, match=r"results/nowhere/comparison.parquet: the comparison table does not exist"):
        render_report(Results(runs[0]), config, summarise(Results(runs[0]), config))
