"""Embeds every picture with one encoder: a teacher, a baseline, or a student trained here."""

from pathlib import Path

from cladeclip.encoders.embed import embed_images
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import made_with
from cladeclip.job_log import job_log
from cladeclip.tables import IMAGES, read_table, write_embeddings

with job_log(snakemake.log[0]):
    folder = Path(snakemake.input.encoder).parent
    image_ids = list(read_table(snakemake.input.images, IMAGES)["image_id"])
    embeddings = embed_images(
        load_encoder(folder),
        snakemake.params.root,
        image_ids,
        batch_size=snakemake.params.batch_size,
        workers=snakemake.config["embed"]["workers"],
        decode=snakemake.params.decode,
    )
    made_by = {"encoder": snakemake.wildcards.encoder, "features": "image", "decode": snakemake.params.decode}
    write_embeddings(snakemake.output[0], image_ids, embeddings, made_by | made_with(folder))
