"""Names new pictures by one model, with heads fitted on one split of the data set."""

from pathlib import Path

from cladeclip.clustering.quality import fit_images
from cladeclip.datasets.listing import pictures_below
from cladeclip.datasets.prepare import check_picture
from cladeclip.datasets.splits import scored_images
from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.load import load_encoder
from cladeclip.hierarchy.classifier import configured_classifier
from cladeclip.hierarchy.identify import for_a_spreadsheet, identify
from cladeclip.io.atomic import write_text
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.cores import workers_for
from cladeclip.run.job_log import job_log
from cladeclip.tables import IDENTIFIED, IMAGES, SPLIT

with job_log(snakemake.log[0]):
    split = read_table(snakemake.input.split, SPLIT)
    images = scored_images(read_table(snakemake.input.images, IMAGES), split)
    known = fit_images(images, split)
    known_embeddings = rows_for(snakemake.input.embeddings, list(known["image_id"]))
    params = snakemake.params
    config, folder = params.hierarchy, str(params.folder)
    new = list(pictures_below(folder)["path"])
    checks = {image_id: check_picture(image_id, folder) for image_id in new}
    unusable = {image_id: f"{check.reason}: {check.detail}" for image_id, check in checks.items() if check.reason}
    readable = [image_id for image_id in new if image_id not in unusable]
    encoder = load_encoder(Path(snakemake.input.encoder).parent)
    workers = workers_for(snakemake.config["embed"]["workers"], threads=snakemake.threads)
    embeddings = embed_images(encoder, folder, readable, workers=workers, **params.embed)
    classifier = configured_classifier(known, known_embeddings, config, seed=params.seed)
    found = identify(classifier, known, known_embeddings, readable, embeddings, unusable, score=config["score"])
    write_table(snakemake.output.parquet, IDENTIFIED, found, dict(snakemake.wildcards) | dict(config))
    write_text(snakemake.output.csv, for_a_spreadsheet(found, classifier.taxonomy.ranks))
