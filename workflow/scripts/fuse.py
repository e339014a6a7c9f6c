"""Fuses image and text embeddings."""

from cladeclip.encoders.fusion import fuse
from cladeclip.job_log import job_log
from cladeclip.tables import read_embeddings, read_metadata, rows_for, write_embeddings

with job_log(snakemake.log[0]):
    image_ids, image = read_embeddings(snakemake.input.image)
    fused = fuse(image, rows_for(snakemake.input.text, image_ids))
    made_by = read_metadata(snakemake.input.image) | read_metadata(snakemake.input.text)
    made_by["features"] = f"fused-{snakemake.wildcards.captioner}"
    write_embeddings(snakemake.output[0], image_ids, fused, made_by)
