"""Decides which images are fit and which are query."""

from cladeclip.datasets.splits import make_split
from cladeclip.job_log import job_log
from cladeclip.tables import IMAGES, SPLIT, read_table, write_table

with job_log(snakemake.log[0]):
    images = read_table(snakemake.input.images, IMAGES)
    split = make_split(images, snakemake.wildcards.split, **snakemake.params.settings)
    write_table(snakemake.output[0], SPLIT, split, {"split": snakemake.wildcards.split, **snakemake.params.settings})
