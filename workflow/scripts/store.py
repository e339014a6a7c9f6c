"""Builds the picture store that training reads."""

from cladeclip.datasets.store import build_store
from cladeclip.io.parquet import read_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import IMAGES

with job_log(snakemake.log[0]):
    build_store(
        snakemake.params.root,
        list(read_table(snakemake.input.images, IMAGES)["image_id"]),
        snakemake.output[0],
        side=int(snakemake.wildcards.side),
        workers=snakemake.threads,
    )
