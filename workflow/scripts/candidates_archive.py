"""Writes candidate species as a Darwin Core archive."""

from cladeclip.hierarchy.identifications import of_candidates
from cladeclip.io.darwin_core import write_archive
from cladeclip.io.parquet import read_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import CANDIDATES

with job_log(snakemake.log[0]):
    occurrences = of_candidates(read_table(snakemake.input[0], CANDIDATES), model=snakemake.wildcards.model)
    write_archive(snakemake.output[0], occurrences, title="Candidate species", licence=snakemake.params.licence)
