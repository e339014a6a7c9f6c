"""Draws the demo's specimens into the dataset's folder."""

from pathlib import Path

from cladeclip.atomic import write_json
from cladeclip.demo.specimens import draw_specimens
from cladeclip.job_log import job_log

with job_log(snakemake.log[0]):
    drawn = draw_specimens(Path(snakemake.output[0]).parent, **snakemake.params.draw, workers=snakemake.threads)
    write_json(snakemake.output[0], {"pictures": len(drawn), **snakemake.params.draw})
