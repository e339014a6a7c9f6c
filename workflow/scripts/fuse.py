"""Fuses image and text embeddings."""

from cladeclip.encoders.fusion import fuse
from cladeclip.io.embeddings import read_embeddings, rows_for, write_embeddings
from cladeclip.io.parquet import read_metadata
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    image_ids, image = read_embeddings(snakemake.input.image)
    fused = fuse(image, rows_for(snakemake.input.text, image_ids))
    made_by = read_metadata(snakemake.input.image) | read_metadata(snakemake.input.text)
    made_by["features"] = f"fused-{snakemake.wildcards.captioner}"
    write_embeddings(snakemake.output[0], image_ids, fused, made_by)
