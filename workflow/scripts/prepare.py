"""Decodes every listed picture: those that can be used, and the others with the reason."""

from cladeclip.datasets.prepare import prepare
from cladeclip.job_log import job_log
from cladeclip.tables import IMAGES, LISTING, QUARANTINE, read_table, write_table

with job_log(snakemake.log[0]):
    images, quarantine = prepare(
        snakemake.params.root,
        read_table(snakemake.input.listing, LISTING),
        snakemake.params.dataset,
        workers=snakemake.threads,
    )
    write_table(snakemake.output.images, IMAGES, images, {"stage": "prepare"})
    write_table(snakemake.output.quarantine, QUARANTINE, quarantine, {"stage": "prepare"})
