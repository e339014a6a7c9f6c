"""Fetches the pictures whose addresses the metadata has; what failed, and why, goes into a CSV beside the table."""

from pathlib import Path

from cladeclip.config.sections import Addresses
from cladeclip.datasets.fetch_pictures import fetch_pictures
from cladeclip.datasets.layouts.specs import read_listed
from cladeclip.datasets.listing import files_below
from cladeclip.io.atomic import write_text
from cladeclip.io.parquet import write_table
from cladeclip.io.spreadsheets import without_formulas
from cladeclip.run.job_log import job_log
from cladeclip.tables import FETCHED

with job_log(snakemake.log[0]):
    root = Path(snakemake.params.root)
    fetched = fetch_pictures(
        root,
        read_listed(root, files_below(root)[0], snakemake.params.dataset),
        Addresses(**snakemake.config["dataset"]["addresses"]),
        licences=snakemake.params.dataset["licences"],
    )
    write_table(snakemake.output.table, FETCHED, fetched, {"stage": "fetch_pictures"})
    failed = fetched.loc[fetched["reason"] != "", ["address", "reason", "image_id"]]
    write_text(snakemake.output.failed, without_formulas(failed))
