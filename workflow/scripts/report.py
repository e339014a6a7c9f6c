"""Writes the page that people read, and its figures as files."""

from cladeclip.io.atomic import write_json, write_text
from cladeclip.io.parquet import read_table
from cladeclip.io.spreadsheets import without_formulas
from cladeclip.paths import Results
from cladeclip.reporting.charts import write_figures
from cladeclip.reporting.credits import credits_of
from cladeclip.reporting.findings import summarise
from cladeclip.reporting.report import render_report
from cladeclip.run.job_log import job_log
from cladeclip.tables import IMAGES

with job_log(snakemake.log[0]):
    results = Results(snakemake.params.results)
    summary = summarise(results, snakemake.params.config)
    report = render_report(results, snakemake.params.config, summary)
    write_json(snakemake.output.summary, summary)
    write_figures(snakemake.output.figures, report.charts)
    write_text(snakemake.output.credits, without_formulas(credits_of(read_table(results.table("images"), IMAGES))))
    write_text(snakemake.output.page, report.page)
