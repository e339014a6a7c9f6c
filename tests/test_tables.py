import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cladeclip.errors import TableError
from cladeclip.io.embeddings import read_embeddings, rows_for, write_embeddings
from cladeclip.io.parquet import STRING, Contract, read_metadata, read_table, write_table

SPLIT = Contract("split", "an image", {"image_id": STRING, "part": STRING}, ("image_id",))


def test_tables_come_back_sorted_with_their_extra_columns(tmp_path):
    frame = pd.DataFrame({"image_id": ["b", "a"], "part": ["fit", "query"], "order": ["x", "y"]})
    write_table(tmp_path / "t.parquet", SPLIT, frame, {"made": "here"})
    back = read_table(tmp_path / "t.parquet", SPLIT)
    assert back.to_dict("list") == {"image_id": ["a", "b"], "part": ["query", "fit"], "order": ["y", "x"]}
    assert read_metadata(tmp_path / "t.parquet")["made"] == "here"


def test_equal_tables_are_equal_bytes_whatever_the_order_of_rows(tmp_path):
    frame = pd.DataFrame({"image_id": list("cab"), "part": ["fit", "query", "fit"]})
    write_table(tmp_path / "1.parquet", SPLIT, frame, {})
    write_table(tmp_path / "2.parquet", SPLIT, frame.iloc[::-1].reset_index(drop=True), {})
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"image_id": ["a"]}), "lacks the column(s) part"),
        (pd.DataFrame({"image_id": ["a", "a"], "part": ["fit", "fit"]}), "repeat the key"),
        (pd.DataFrame({"image_id": ["a"], "part": [1.5]}), "does not fit its columns"),
    ],
)
def test_a_table_that_breaks_its_contract_is_not_written(tmp_path, frame, words):
    with pytest.raises(TableError, match=r"split") as caught:
        write_table(tmp_path / "split.parquet", SPLIT, frame, {})
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_reading_names_the_file_and_the_column(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(TableError, match="does not exist"):
        read_table(path, SPLIT)
    path.write_bytes(b"PAR1 this is no table")
    with pytest.raises(TableError, match="cannot be read"):
        read_table(path, SPLIT)
    pd.DataFrame({"image_id": ["a"], "part": [3]}).to_parquet(path)
    with pytest.raises(TableError, match="column 'part' holds int64"):
        read_table(path, SPLIT)
    pd.DataFrame({"image_id": ["a"]}).to_parquet(path)
    with pytest.raises(TableError, match="lacks the column 'part'"):
        read_table(path, SPLIT)


def test_embeddings_come_back_by_id(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"{i:05d}" for i in rng.permutation(9000)]  # more than one row group
    embeddings = rng.normal(size=(9000, 300)).astype(np.float32)
    write_embeddings(tmp_path / "e.parquet", ids, embeddings, {})
    assert pq.ParquetFile(tmp_path / "e.parquet").num_row_groups > 1
    back_ids, back = read_embeddings(tmp_path / "e.parquet")
    assert back_ids == sorted(ids)
    order = np.argsort(ids)
    np.testing.assert_array_equal(back, embeddings[order])
    np.testing.assert_array_equal(rows_for(tmp_path / "e.parquet", ids[:5]), embeddings[:5])
    with pytest.raises(TableError, match="no embedding of image 'nobody'"):
        rows_for(tmp_path / "e.parquet", ["nobody"])


def test_embeddings_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"1 embedding\(s\) hold NaN"):
        write_embeddings(tmp_path / "e.parquet", ["a", "b"], np.array([[1.0, np.nan], [0, 1]], np.float32), {})
    assert not (tmp_path / "e.parquet").exists()
