"""Lists what a curator should look at, by one model's embeddings."""

from cladeclip.curation.curate import curate
from cladeclip.datasets.store import PictureStore
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import CANDIDATES, DUPLICATES, IMAGES, OUTLIERS, SUSPECTS

with job_log(snakemake.log[0]):
    images, params = read_table(snakemake.input.images, IMAGES), snakemake.params
    lists = curate(
        images,
        rows_for(snakemake.input.embeddings, list(images["image_id"])),
        PictureStore(snakemake.input.store),
        params.curate,
        params.hierarchy,
        seed=params.seed,
        workers=snakemake.threads,
    )
    made_by = dict(snakemake.wildcards) | dict(params.curate)
    for contract in (SUSPECTS, DUPLICATES, OUTLIERS, CANDIDATES):
        write_table(snakemake.output[contract.name], contract, getattr(lists, contract.name), made_by)
