"""Embeds the pictures (or a shard of them) with one encoder: a teacher, a baseline, or a student trained here."""

from pathlib import Path

from cladeclip.encoders.cached import embed_image_table
from cladeclip.io.parquet import read_table
from cladeclip.run.cores import workers_for
from cladeclip.run.job_log import job_log
from cladeclip.shards import in_shard
from cladeclip.tables import IMAGES

with job_log(snakemake.log[0]):
    params, shard = snakemake.params, snakemake.wildcards.get("shard", "1-of-1")
    images = read_table(snakemake.input.images, IMAGES)
    cache = embed_image_table(
        snakemake.output[0],
        images[in_shard(list(images["image_id"]), shard)],
        Path(snakemake.input.encoder).parent,
        params.root,
        params.cache,
        params.rows,
        {"encoder": snakemake.wildcards.encoder, "features": "image"},
        **{key: params[key] for key in ("batch_size", "decode", "precision")},
        workers=workers_for(snakemake.config["embed"]["workers"], threads=snakemake.threads),
        shard=shard,
    )
    if snakemake.wildcards.place:
        cache.remove()  # a student is trained anew when the pictures change: its rows are of no further use
