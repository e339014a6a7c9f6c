"""Brings VLM4Bio's pictures and metadata into the dataset's folder."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "0"  # this rule alone may download

from cladeclip.atomic import write_json
from cladeclip.datasets.fetch import fetch_vlm4bio
from cladeclip.job_log import job_log

with job_log(snakemake.log[0]):
    fetched = fetch_vlm4bio(Path(snakemake.output[0]).parent, **snakemake.params.fetch)
    write_json(snakemake.output[0], fetched)
