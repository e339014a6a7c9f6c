"""Writes the page that people read."""

from pathlib import Path

from cladeclip.atomic import write_json, write_text
from cladeclip.job_log import job_log
from cladeclip.reporting.report import render_report, summarise

with job_log(snakemake.log[0]):
    results = Path(snakemake.params.results)
    summary = summarise(results, snakemake.params.config)
    write_json(snakemake.output.summary, summary)
    write_text(snakemake.output.page, render_report(results, snakemake.params.config, summary))
