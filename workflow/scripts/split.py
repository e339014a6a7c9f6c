"""Assigns each image to a part of the split: fit, query, unseen or unnamed."""

from cladeclip.datasets.near_duplicates import with_near_duplicates
from cladeclip.datasets.splits import make_split
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import IMAGES, NEAR_DUPLICATES, SPLIT

with job_log(snakemake.log[0]):
    images = read_table(snakemake.input.images, IMAGES)
    if snakemake.input.near_duplicates:
        images = with_near_duplicates(images, read_table(snakemake.input.near_duplicates, NEAR_DUPLICATES))
    split = make_split(images, snakemake.wildcards.split, **snakemake.params.settings)
    write_table(snakemake.output[0], SPLIT, split, {"split": snakemake.wildcards.split, **snakemake.params.settings})
