"""Names pictures at several ranks by one model's embeddings, on one split."""

from cladeclip.datasets.splits import scored_images
from cladeclip.hierarchy.classifier import Settings, chosen_ranks
from cladeclip.hierarchy.evaluate import evaluate_hierarchy
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import COVERAGE, HIERARCHY, IMAGES, NOVELTY, SPLIT, TAXONOMIC_ANSWERS

with job_log(snakemake.log[0]):
    split = read_table(snakemake.input.split, SPLIT)
    images = scored_images(read_table(snakemake.input.images, IMAGES), split)
    embeddings = rows_for(snakemake.input.embeddings, list(images["image_id"]))
    config = snakemake.params.hierarchy
    found = evaluate_hierarchy(
        images,
        embeddings,
        split,
        protocol=snakemake.wildcards.split,
        score=config["score"],
        ranks=chosen_ranks(config),
        settings=Settings.of_config(config),
        **snakemake.params.queries,
    )
    made_by = dict(snakemake.wildcards) | dict(config)
    for contract in (HIERARCHY, COVERAGE, NOVELTY, TAXONOMIC_ANSWERS):
        write_table(snakemake.output[contract.name], contract, getattr(found, contract.name), made_by)
