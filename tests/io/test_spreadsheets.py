"""CSV files for spreadsheets."""

import io

import pandas as pd
import pytest

from cladeclip.io.spreadsheets import FORMULA, without_formulas


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_table_of_any_length_keeps_its_columns_and_values(rows):
    table = pd.DataFrame({"name": ["Ann"] * rows, "n": [-1] * rows, "share": [-0.5] * rows, "right": [True] * rows})
    read = pd.read_csv(io.StringIO(without_formulas(table)))
    assert list(read) == list(table)
    assert read.to_numpy().tolist() == table.to_numpy().tolist()


@pytest.mark.parametrize("first", FORMULA)
def test_no_text_is_a_formula(first):
    table = pd.DataFrame({"name": [f"{first}1+1", "a=b", None]})
    read = pd.read_csv(io.StringIO(without_formulas(table)), keep_default_na=False, lineterminator="\n")
    assert read["name"].tolist() == [f"'{first}1+1", "a=b", ""]
