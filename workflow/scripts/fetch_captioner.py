"""Brings the model of a captioner to where compute nodes without internet find it."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "0"  # this rule alone may download

from cladeclip.captioning.internvl import make_captioner_folder
from cladeclip.job_log import job_log

with job_log(snakemake.log[0]):
    folder = Path(snakemake.output[0]).parent
    make_captioner_folder(snakemake.wildcards.captioner, snakemake.params.captioner, folder)
