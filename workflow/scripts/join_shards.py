"""Joins the embeddings of all shards into one table."""

from cladeclip.job_log import job_log
from cladeclip.tables import join_embeddings

with job_log(snakemake.log[0]):
    join_embeddings(list(snakemake.input), snakemake.output[0])
