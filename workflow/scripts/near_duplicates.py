"""Lists the pictures that an encoder finds nearly the same."""

from cladeclip.datasets.near_duplicates import near_duplicates
from cladeclip.io.embeddings import read_embeddings
from cladeclip.io.parquet import write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import NEAR_DUPLICATES

with job_log(snakemake.log[0]):
    ids, embeddings = read_embeddings(snakemake.input.embeddings)
    params = dict(snakemake.params.settings)
    pairs = near_duplicates(ids, embeddings, cosine=params["cosine"])
    write_table(snakemake.output[0], NEAR_DUPLICATES, pairs, params)
