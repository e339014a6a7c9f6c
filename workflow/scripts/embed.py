"""Embeds the pictures (or a shard of them) with one encoder: a teacher, a baseline, or a student trained here."""

from pathlib import Path

from cladeclip.encoders.embed import add_missing_images, write_cached
from cladeclip.encoders.encoder import choose_device, precision_used
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import folder_fingerprint, made_with
from cladeclip.io.embeddings import embedding_kind
from cladeclip.io.parquet import read_table
from cladeclip.io.row_cache import RowCache
from cladeclip.run.cores import workers_for
from cladeclip.run.job_log import job_log
from cladeclip.shards import in_shard
from cladeclip.tables import IMAGES

with job_log(snakemake.log[0]):
    folder, params = Path(snakemake.input.encoder).parent, snakemake.params
    shard = snakemake.wildcards.get("shard", "1-of-1")
    images = read_table(snakemake.input.images, IMAGES)
    images = images[in_shard(list(images["image_id"]), shard)]
    ids, contents = list(images["image_id"]), list(images["content_hash"])
    encoder = load_encoder(folder)
    settings = {key: params[key] for key in ("batch_size", "decode", "precision")}
    made_by = {"decode": params.decode, "precision": precision_used(choose_device(), params.precision)}
    key = f"{folder_fingerprint(folder)} {made_by} batch {params.batch_size} rows {params.rows}"
    cache = RowCache(params.cache, key, embedding_kind(encoder.dim), shard)
    workers = workers_for(snakemake.config["embed"]["workers"], threads=snakemake.threads)
    add_missing_images(encoder, params.root, ids, contents, cache, workers=workers, **settings)
    made_by |= {"encoder": snakemake.wildcards.encoder, "features": "image", **made_with(folder)}
    write_cached(snakemake.output[0], ids, contents, cache, encoder.dim, made_by)
    if snakemake.wildcards.place:
        cache.remove()  # a student is trained anew when the pictures change: its rows are of no further use
