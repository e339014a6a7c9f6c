"""Brings an encoder's weights into a folder of their own, from wherever the config says."""

from pathlib import Path

from cladeclip.run.job_environment import allow_downloads

allow_downloads()  # before the hub's client is imported: this rule alone may

from cladeclip.encoders.weights import make_encoder_folder
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    folder = Path(snakemake.output[0]).parent
    make_encoder_folder(snakemake.wildcards.encoder, snakemake.params.definition, folder)
