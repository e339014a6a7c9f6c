"""Joins the embeddings of all shards into one table."""

from cladeclip.io.embeddings import join_embeddings
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    join_embeddings(list(snakemake.input), snakemake.output[0])
