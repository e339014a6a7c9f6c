"""Names the data set's own pictures that have no species, by one model, with heads fitted on one split."""

from cladeclip.clustering.quality import fit_images
from cladeclip.datasets.splits import UNNAMED, scored_images
from cladeclip.hierarchy.classifier import configured_classifier
from cladeclip.hierarchy.identify import for_a_spreadsheet, identify
from cladeclip.io.atomic import write_text
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import IDENTIFIED, IMAGES, SPLIT

with job_log(snakemake.log[0]):
    split = read_table(snakemake.input.split, SPLIT)
    images, config = read_table(snakemake.input.images, IMAGES), snakemake.params.hierarchy
    known = fit_images(scored_images(images, split), split)
    unnamed = list(split.loc[split["part"] == UNNAMED, "image_id"])
    of_known, of_unnamed = (rows_for(snakemake.input.embeddings, ids) for ids in (list(known["image_id"]), unnamed))
    classifier = configured_classifier(known, of_known, config, seed=snakemake.params.seed)
    found = identify(classifier, known, of_known, unnamed, of_unnamed, {}, score=config["score"])
    write_table(snakemake.output.parquet, IDENTIFIED, found, dict(snakemake.wildcards) | dict(config))
    write_text(snakemake.output.csv, for_a_spreadsheet(found, classifier.taxonomy.ranks))
