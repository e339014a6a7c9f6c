"""Brings VLM4Bio's pictures and metadata into the dataset's folder."""

from pathlib import Path

from cladeclip.run.job_environment import allow_downloads

allow_downloads()  # before the hub's client is imported: this rule alone may

from cladeclip.datasets.fetch import fetch_vlm4bio
from cladeclip.io.atomic import write_json
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    fetched = fetch_vlm4bio(Path(snakemake.output[0]).parent, **snakemake.params.fetch)
    write_json(snakemake.output[0], fetched)
