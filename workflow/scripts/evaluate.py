"""Evaluates one model on one split."""

from cladeclip.datasets.splits import scored_images
from cladeclip.evaluation.evaluate import evaluate
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import EVALUATION, IMAGES, SPLIT

with job_log(snakemake.log[0]):
    split = read_table(snakemake.input.split, SPLIT)
    images = scored_images(read_table(snakemake.input.images, IMAGES), split)
    settings = {
        name: snakemake.params[name]
        for name in ("query_share", "seed", "genus_only_names", "repeats", "one_by_one", "probe")
    }
    embeddings = rows_for(snakemake.input.embeddings, list(images["image_id"]))
    found = evaluate(images, embeddings, split, protocol=snakemake.wildcards.split, **settings)
    made_by = dict(snakemake.wildcards) | settings
    for name, contract in EVALUATION.items():
        write_table(snakemake.output[name], contract, getattr(found, name), made_by)
