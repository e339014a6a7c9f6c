"""Brings the model of a captioner to where compute nodes without internet find it."""

from pathlib import Path

from cladeclip.run.job_environment import allow_downloads

allow_downloads()  # before the hub's client is imported: this rule alone may

from cladeclip.captioning.specs import kind_named
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    folder = Path(snakemake.output[0]).parent
    name = snakemake.wildcards.captioner
    # The prompt is only tried here: another one makes no model stale.
    definition = {**snakemake.params.captioner, "prompt": snakemake.config["captioners"][name].get("prompt", "")}
    kind_named(snakemake.config["captioners"][name]["kind"]).code().fetch(name, definition, folder)
