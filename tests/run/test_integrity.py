import pytest
from conftest import flip

from cladeclip.errors import DataError
from cladeclip.io.atomic import read_json, sha256_of_file, write_json, write_text
from cladeclip.run.integrity import differences, main, repair, verify


@pytest.fixture
def run(tmp_path):
    results, weights = tmp_path / "results", tmp_path / "weights"
    for name in ("comparison.parquet", "all/checkpoints/m/model.safetensors"):
        write_text(results / name, f"bytes of {name}")
    listed = {
        path.relative_to(results).as_posix(): sha256_of_file(path) for path in results.rglob("*") if path.is_file()
    }
    write_json(results / "manifest.json", listed)
    write_text(weights / "vit" / "model.safetensors", "weights")
    digest = sha256_of_file(weights / "vit" / "model.safetensors")
    write_json(weights / "vit" / "encoder.json", {"files": {"model.safetensors": {"sha256": digest}}})
    return results, weights


def test_a_whole_run_is_as_it_was_written(run):
    verify(*run)
    assert repair(*run) == []


@pytest.mark.parametrize("name", ["comparison.parquet", "all/checkpoints/m/model.safetensors"])
def test_a_flipped_bit_is_found_named_and_removed(run, name):
    flip(run[0] / name)
    with pytest.raises(DataError, match=rf"1 file\(s\) are not what was written: .*{name} \(other bytes\).*repair"):
        verify(*run)
    assert repair(*run) == [run[0] / name]
    assert not (run[0] / name).exists()
    # Without it, snakemake makes again what is missing, also where nothing else misses it.
    assert not (run[0] / "manifest.json").exists()


def test_damaged_weights_go_with_their_record(run):
    weights = run[1] / "vit"
    flip(weights / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors"):
        verify(*run)
    repair(*run)
    assert list(weights.iterdir()) == []


def test_what_a_students_library_reads_is_held_against_its_record(run):
    folder = run[0] / "all/checkpoints/m"
    write_text(folder / "open_clip_config.json", "{}")
    files = {name: {"sha256": sha256_of_file(folder / name)} for name in ("open_clip_config.json", "model.safetensors")}
    write_json(folder / "encoder.json", {"files": files})
    verify(*run)
    flip(folder / "open_clip_config.json")
    with pytest.raises(DataError, match=r"open_clip_config\.json \(other bytes\)"):
        verify(*run)
    assert repair(*run) == [folder / "open_clip_config.json"]
    # The training makes both again.
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]


def test_a_run_that_is_not_finished_cannot_be_verified(run):
    (run[0] / "manifest.json").unlink()
    with pytest.raises(DataError, match="only a finished run can be verified"):
        verify(*run)


def test_two_runs_are_compared(run, tmp_path, capsys):
    manifest = tmp_path / "theirs.json"
    write_json(manifest, read_json(run[0] / "manifest.json"))
    assert main([run[0], manifest]) == 0
    assert main([run[0], tmp_path / "none.json"]) == 2
    assert "none.json: is not there" in capsys.readouterr().out
    flip(run[0] / "comparison.parquet")
    assert main([run[0], manifest]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 results are the same bytes" in said
    assert "Not the same: comparison.parquet (other bytes)." in said
    assert differences(run[0], {"other": "0"}) == {"other": "missing"}
