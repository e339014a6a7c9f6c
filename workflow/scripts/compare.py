"""Puts all models side by side."""

from cladeclip.atomic import write_text
from cladeclip.job_log import job_log
from cladeclip.reporting.comparison import comparison_csv, comparison_table
from cladeclip.tables import COMPARISON, write_table

with job_log(snakemake.log[0]):
    comparison = comparison_table(snakemake.input.accuracy, snakemake.input.imports)
    write_table(snakemake.output.parquet, COMPARISON, comparison, {"stage": "compare"})
    write_text(snakemake.output.csv, comparison_csv(comparison))
