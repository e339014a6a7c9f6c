"""Puts all models side by side, and each trained student beside what it was before."""

from cladeclip.io.atomic import write_text
from cladeclip.io.parquet import write_table
from cladeclip.paths import Results
from cladeclip.reporting.comparison import changes_by_training, comparison_csv, comparison_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import CHANGES, COMPARISON

with job_log(snakemake.log[0]):
    results = Results(snakemake.params.results)
    comparison = comparison_table(results, snakemake.params.models, snakemake.input.imports)
    write_table(snakemake.output.parquet, COMPARISON, comparison, {"stage": "compare"})
    write_text(snakemake.output.csv, comparison_csv(comparison))
    changes = changes_by_training(results, snakemake.params.trained)
    write_table(snakemake.output.changes, CHANGES, changes, {"stage": "compare"})
