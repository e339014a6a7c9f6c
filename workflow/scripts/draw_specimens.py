"""Draws the demo's specimens into the dataset's folder."""

from pathlib import Path

from cladeclip.demo.specimens import draw_specimens
from cladeclip.io.atomic import write_json
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    root = Path(snakemake.output.marker).parent
    drawn = draw_specimens(root, **snakemake.params.draw, workers=snakemake.threads)
    write_json(snakemake.output.marker, {"pictures": len(drawn), **snakemake.params.draw})
