"""Evaluates one model on one split."""

from cladeclip.evaluation.evaluate import evaluate
from cladeclip.job_log import job_log
from cladeclip.tables import ACCURACY, IMAGES, PREDICTIONS, SPLIT, read_table, rows_for, write_table

with job_log(snakemake.log[0]):
    images, split = read_table(snakemake.input.images, IMAGES), read_table(snakemake.input.split, SPLIT)
    settings = {name: snakemake.params[name] for name in ("query_share", "seed", "genus_only_names")}
    embeddings = rows_for(snakemake.input.embeddings, list(images["image_id"]))
    accuracy, predictions = evaluate(images, embeddings, split, protocol=snakemake.wildcards.split, **settings)
    made_by = dict(snakemake.wildcards) | settings
    write_table(snakemake.output.accuracy, ACCURACY, accuracy, made_by)
    write_table(snakemake.output.predictions, PREDICTIONS, predictions, made_by)
