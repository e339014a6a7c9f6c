"""Writes the sha256 of every result."""

from cladeclip.io.atomic import sha256_of_file, write_json
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    prefix = f"{snakemake.params.results}/"
    write_json(
        snakemake.output[0], {path.removeprefix(prefix): sha256_of_file(path) for path in snakemake.input.results}
    )
