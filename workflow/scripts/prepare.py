"""Decodes every listed picture: those that can be used, the others with the reason, and what was made of the names."""

from cladeclip.datasets.decisions import read_decisions
from cladeclip.datasets.prepare import prepare
from cladeclip.datasets.synonyms import read_synonyms
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import FETCHED, IMAGES, LISTING, NAMES, QUARANTINE

with job_log(snakemake.log[0]):
    prepared = prepare(
        snakemake.params.root,
        read_table(snakemake.input.listing, LISTING),
        snakemake.params.dataset,
        synonyms=read_synonyms(snakemake.params.synonyms),
        decisions=read_decisions(snakemake.params.decisions),
        fetched=read_table(snakemake.input.fetched[0], FETCHED) if snakemake.input.fetched else None,
        workers=snakemake.threads,
    )
    for name, contract in {"images": IMAGES, "quarantine": QUARANTINE, "names": NAMES}.items():
        write_table(snakemake.output[name], contract, getattr(prepared, name), {"stage": "prepare"})
