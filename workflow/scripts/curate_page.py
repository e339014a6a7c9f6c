"""Writes the page on which a curator decides."""

from cladeclip.io.atomic import write_text
from cladeclip.paths import Results
from cladeclip.reporting.curation import render_curation
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    page = render_curation(
        Results(snakemake.params.results),
        snakemake.config,
        snakemake.wildcards.split,
        snakemake.wildcards.model,
        words=snakemake.params.words,
    )
    write_text(snakemake.output[0], page)
