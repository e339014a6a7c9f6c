import numpy as np
import pandas as pd
import pytest

from cladeclip.errors import DataError
from cladeclip.io.parquet import read_table, write_table
from cladeclip.paths import Results
from cladeclip.reporting.comparison import (
    CSV_COLUMNS,
    Primary,
    best_on_clusters,
    comparison_csv,
    comparison_table,
    imported_rows,
    standings,
)
from cladeclip.reporting.findings import _between_the_controls
from cladeclip.tables import ACCURACY, COMPARISON, OF_EACH_MEASURE

PRIMARY = Primary(k=9, column="species", taxa="All", measure="accuracy_avg", split="holdout-0")
ACCURACIES = {
    "vit.handmade-image-k9.seed5": 0.5,
    "vit.handmade-image-k9.seed6": 0.6,
    "vit.handmade-image-k9.seed7": 0.58,
    "vit.handmade-image-k18.seed5": 0.4,
    "vit.species.seed5": 0.8,
    "vit.species.seed6": 0.9,
    "vit.random-k9.seed5": 0.3,
    "vit.random-k18.seed5": 0.2,
    "vit": 0.35,
}


def table_of(folder, accuracies, split="holdout-0"):
    return comparison_table(Results(folder), models_of(folder, accuracies, split))


def models_of(folder, accuracies, split):
    for model, accuracy in accuracies.items():
        path = Results(folder).evaluation(split, model, "accuracy")
        columns = ("accuracy_individual", "accuracy_avg", "distance_individual", "distance_avg")
        row = {"taxa": "All", "column": "species", **dict.fromkeys(columns, accuracy)}
        row |= {"accuracy_individual": accuracy / 2}
        row |= {f"{name}_{kind}": np.nan for name in columns for kind in OF_EACH_MEASURE}
        row |= {"n_query": 10, "n_gallery": 20, "n_labels": 5, "n_query_without_gallery": 0}
        write_table(path, ACCURACY, pd.DataFrame([row]), {})
    return [(split, model) for model in accuracies]


def test_the_spread_over_seeds_is_that_of_the_replicas_alone(tmp_path):
    table = table_of(tmp_path, ACCURACIES).set_index("model")
    for model in ACCURACIES:
        stem = model.rpartition(".seed")[0]
        replicas = [value for name, value in ACCURACIES.items() if name.rpartition(".seed")[0] == stem]
        expected = np.std(replicas, ddof=1) if stem and len(replicas) > 1 else np.nan
        assert table.loc[model, "accuracy_avg_sd_seeds"] == pytest.approx(expected, nan_ok=True)
        assert table.loc[model, "accuracy_individual_sd_seeds"] == pytest.approx(expected / 2, nan_ok=True)


def test_in_the_csv_spreads_are_percent_and_what_has_none_is_empty(tmp_path):
    lines = comparison_csv(table_of(tmp_path, ACCURACIES)).splitlines()
    seeds_columns = "model,taxa,column,accuracy_individual,accuracy_avg,distance_individual,distance_avg"
    assert lines[0].startswith(f"{seeds_columns},split,n_query,n_gallery,n_labels,accuracy_individual_low,")
    cells = {line.split(",")[0]: dict(zip(CSV_COLUMNS, line.split(","), strict=True)) for line in lines[1:]}
    spread = f"{100 * np.std([0.5, 0.6, 0.58], ddof=1):.2f}"
    for seed in (5, 6, 7):
        row = cells[f"vit.handmade-image-k9.seed{seed}"]
        assert (row["accuracy_avg_sd_seeds"], row["accuracy_avg_low"]) == (spread, "")
    assert cells["vit.handmade-image-k9.seed5"]["accuracy_avg"] == "50.00"
    assert cells["vit"]["accuracy_avg_sd_seeds"] == ""


def test_folds_of_a_protocol_have_a_spread_where_query_draws_have_none(tmp_path):
    folds = [models_of(tmp_path, {"vit": accuracy}, f"holdout-{fold}") for fold, accuracy in enumerate([0.4, 0.5, 0.9])]
    table = comparison_table(Results(tmp_path), [model for models in folds for model in models])
    assert table["accuracy_avg_sd_splits"].tolist() == pytest.approx([np.std([0.4, 0.5, 0.9], ddof=1)] * 3)


def test_without_any_training_there_is_no_spread_and_the_contract_holds(tmp_path):
    table = table_of(tmp_path, {"vit": 0.5, "handmade": 0.1})
    write_table(tmp_path / "comparison.parquet", COMPARISON, table, {})
    assert read_table(tmp_path / "comparison.parquet", COMPARISON)["accuracy_avg_sd_seeds"].isna().all()


def test_each_k_stands_between_labels_without_meaning_and_species_labels(tmp_path):
    found = standings(table_of(tmp_path, ACCURACIES), PRIMARY, ["handmade"])
    assert found["k"].tolist() == [9, 18]
    assert found["random"].tolist() == pytest.approx([0.25, 0.25])
    assert found["species"].tolist() == pytest.approx([0.85, 0.85])
    assert found["position"].tolist() == pytest.approx([(0.56 - 0.25) / 0.6, (0.4 - 0.25) / 0.6])
    (sentence,) = _between_the_controls(found)
    assert "labels without meaning (25.0%) and species labels (85.0%)" in sentence
    assert "k = 9 at 52% (56.0%), k = 18 at 25% (40.0%)" in sentence


def test_nothing_stands_anywhere_without_both_controls_or_where_they_do_not_differ(tmp_path):
    rest = {model: value for model, value in ACCURACIES.items() if "species" not in model}
    assert standings(table_of(tmp_path / "a", rest), PRIMARY, ["handmade"]).empty
    same = ACCURACIES | {"vit.species.seed5": 0.25, "vit.species.seed6": 0.25}
    (sentence,) = _between_the_controls(standings(table_of(tmp_path / "b", same), PRIMARY, ["handmade"]))
    assert "species labels teach no more than labels without meaning here" in sentence


def test_with_seeds_the_best_is_the_best_mean_and_its_replicas_stand_together(tmp_path):
    ranked = best_on_clusters(table_of(tmp_path, ACCURACIES), PRIMARY, ["handmade"])
    assert ranked == [[f"vit.handmade-image-k9.seed{seed}" for seed in (5, 6, 7)], ["vit.handmade-image-k18.seed5"]]


WEEK_13 = """model,taxa,column,accuracy_individual,accuracy_avg,distance_individual,distance_avg
trained_vlm_unicom_100,Fish,species,44.11,1.06,44.11,2.27
trained_vlm_unicom_100,All,taxa,99.1,88.4,99.1,90
"""


def test_results_from_elsewhere_stand_beside_and_are_marked(tmp_path):
    (tmp_path / "theirs.csv").write_text(WEEK_13)
    table = comparison_table(Results(tmp_path), models_of(tmp_path, ACCURACIES, "holdout-0"), [tmp_path / "theirs.csv"])
    write_table(tmp_path / "comparison.parquet", COMPARISON, table, {})
    read = read_table(tmp_path / "comparison.parquet", COMPARISON)
    theirs = read[read["split"] == "imported"].set_index("column")
    assert theirs.loc["species", "accuracy_individual"] == pytest.approx(0.4411)
    assert theirs["n_query"].isna().all()
    assert read[read["split"] != "imported"]["n_query"].eq(10).all()
    line = next(line for line in comparison_csv(read).splitlines() if line.startswith("trained_vlm_unicom_100,Fish"))
    assert line.startswith("trained_vlm_unicom_100,Fish,species,44.11,1.06,44.11,2.27,imported,,,,")
    assert best_on_clusters(table, PRIMARY, ["handmade"])[0][0] == "vit.handmade-image-k9.seed5"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model,taxa\na,b\n", "the column column is missing"),
        (WEEK_13.replace("1.06", "high"), "row 2 has accuracy_avg 'high'; allowed are percentages"),
        (WEEK_13.replace("88.4", "188.4"), "row 3 has accuracy_avg"),
        (WEEK_13 + WEEK_13.splitlines()[1], "stands there twice"),
        ("", "cannot be read as CSV"),
    ],
)
def test_an_import_that_is_no_such_table_is_named(tmp_path, text, words):
    (tmp_path / "theirs.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        imported_rows(tmp_path / "theirs.csv")
    assert words in str(caught.value)
    assert f"{tmp_path / 'theirs.csv'} (report.import)" in str(caught.value)
