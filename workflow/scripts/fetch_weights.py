"""Brings an encoder's weights into a folder of their own, from wherever the config says."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "0"  # this rule alone may download

from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.job_log import job_log

with job_log(snakemake.log[0]):
    folder = Path(snakemake.output[0]).parent
    make_encoder_folder(snakemake.wildcards.encoder, snakemake.params.definition, folder)
