"""Zero-shot classification of pictures, with a model's own text tower."""

from pathlib import Path

from cladeclip.datasets.splits import scored_images
from cladeclip.devices import choose_device
from cladeclip.encoders.load import load_encoder
from cladeclip.evaluation.protocol import subsets
from cladeclip.evaluation.zero_shot import zero_shot_table
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import IMAGES, SPLIT, ZERO_SHOT

with job_log(snakemake.log[0]):
    split = read_table(snakemake.input.split, SPLIT)
    images = scored_images(read_table(snakemake.input.images, IMAGES), split)
    asked = list(subsets(images, split, protocol=snakemake.wildcards.split, **snakemake.params.queries))
    embeddings = rows_for(snakemake.input.embeddings, list(images["image_id"]))
    encoder = load_encoder(Path(snakemake.input.encoder).parent).to(choose_device())
    params = snakemake.params
    found = zero_shot_table(
        encoder, embeddings, images, asked, batch_size=params.batch_size, precision=params.precision
    )
    write_table(snakemake.output[0], ZERO_SHOT, found, dict(snakemake.wildcards))
