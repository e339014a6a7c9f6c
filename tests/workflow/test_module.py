"""Snakemake's `module:` statement: another workflow that uses this one, and changes a rule of it."""

from checkout import TINY, Checkout

from cladeclip.io.parquet import read_table
from cladeclip.tables import SPLIT

OTHER = """
configfile: "{defaults}"


module cladeclip:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from cladeclip


use rule train from cladeclip with:
    threads: 2
    message:
        "Training {{wildcards.student}} as we do it."


rule count:
    default_target: True
    input:
        "results/tiny/holdout-0/split.parquet",
    output:
        "parts.txt",
    shell:
        "wc -c < {{input}} > {{output}}"
"""


def test_another_workflow_uses_this_one_and_changes_a_rule(tmp_path):
    ours, theirs = Checkout(tmp_path / "ours"), tmp_path / "theirs"
    theirs.mkdir()
    text = OTHER.format(defaults=ours.folder / "config" / "config.yaml", snakefile=ours.folder / "Snakefile")
    (theirs / "Snakefile").write_text(text)
    other = Checkout.__new__(Checkout)
    other.folder, other.results = theirs, theirs / "results" / "tiny"
    other.run(config=TINY)
    assert int((theirs / "parts.txt").read_text()) == (other.results / "holdout-0" / "split.parquet").stat().st_size
    assert len(read_table(other.results / "holdout-0" / "split.parquet", SPLIT)) == 72
    assert not (ours.folder / "results").exists()
    checkpoint = "results/tiny/holdout-0/checkpoints/tiny-clip.species.seed5/model.safetensors"
    planned = other.run("-n", checkpoint, config=TINY)
    assert "Training tiny-clip as we do it." in planned
