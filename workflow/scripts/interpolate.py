"""A student between the untrained and the trained."""

from pathlib import Path

from cladeclip.run.job_log import job_log
from cladeclip.training.interpolation import interpolate

with job_log(snakemake.log[0]):
    interpolate(
        Path(snakemake.input.encoder).parent,
        Path(snakemake.input.trained).parent,
        int(snakemake.wildcards.percent) / 100,
        Path(snakemake.output.model).parent,
    )
