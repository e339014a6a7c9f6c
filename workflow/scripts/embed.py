"""Embeds every picture with one encoder: a teacher, a baseline, or a student trained here."""

from pathlib import Path

from cladeclip.encoders.embed import embed_missing_images
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.row_cache import RowCache
from cladeclip.encoders.weights import folder_fingerprint, made_with
from cladeclip.job_log import job_log
from cladeclip.tables import IMAGES, read_table, write_embeddings

with job_log(snakemake.log[0]):
    folder, params = Path(snakemake.input.encoder).parent, snakemake.params
    images = read_table(snakemake.input.images, IMAGES)
    encoder = load_encoder(folder)
    key = f"{folder_fingerprint(folder)} decode {params.decode} batch {params.batch_size} code {params.code}"
    cache = RowCache(params.cache, key, encoder.dim)
    embeddings = embed_missing_images(
        encoder,
        params.root,
        list(images["image_id"]),
        list(images["content_hash"]),
        cache,
        batch_size=params.batch_size,
        workers=snakemake.config["embed"]["workers"],
        decode=params.decode,
    )
    made_by = {"encoder": snakemake.wildcards.encoder, "features": "image", "decode": params.decode}
    write_embeddings(snakemake.output[0], list(images["image_id"]), embeddings, made_by | made_with(folder))
    if snakemake.wildcards.place:
        cache.remove()  # a student is trained anew when the pictures change: its rows are of no further use
