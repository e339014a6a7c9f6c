"""Lists the files of the dataset's folder with their content hashes."""

from cladeclip.datasets.listing import refresh_listing
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    refresh_listing(snakemake.params.root, snakemake.output[0])
