"""A trained student to give away: its checkpoint with a model card."""

from pathlib import Path

from cladeclip.names import Model
from cladeclip.reporting.model_card import Sources, write_release
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    found = snakemake.input
    model = Model.parse(snakemake.wildcards.model)
    assert model is not None
    sources = Sources(
        Path(found.model).parent,
        Path(found.accuracy),
        Path(found.before),
        [Path(path) for path in found.get("qualities", [])],
        Path(found.images),
        Path(found.split),
    )
    params = snakemake.params
    write_release(
        Path(snakemake.output[0]).parent, model, snakemake.wildcards.split, sources, params.config, params.settings
    )
