"""Embeds every caption with an encoder's text tower."""

from pathlib import Path

from cladeclip.encoders.embed import add_missing_texts, captions_cut, write_cached
from cladeclip.encoders.encoder import choose_device, precision_used
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import folder_fingerprint, made_with
from cladeclip.io.atomic import sha256_of_file
from cladeclip.io.embeddings import embedding_kind
from cladeclip.io.parquet import read_table
from cladeclip.io.row_cache import RowCache
from cladeclip.run.job_log import job_log
from cladeclip.tables import CAPTIONS

with job_log(snakemake.log[0]):
    folder, params = Path(snakemake.input.encoder).parent, snakemake.params
    table = read_table(snakemake.input.captions, CAPTIONS)
    captions, contents = list(table["caption"]), list(table["caption_hash"])
    encoder = load_encoder(folder)
    made_by = {"precision": precision_used(choose_device(), params.precision)}
    key = f"{folder_fingerprint(folder)} {made_by} batch {params.batch_size} rows {params.rows}"
    cache = RowCache(params.cache, key, embedding_kind(encoder.dim))
    settings = {key: params[key] for key in ("batch_size", "precision")}
    add_missing_texts(encoder, captions, contents, cache, **settings)
    made_by |= {"encoder": snakemake.wildcards.encoder, "features": f"text-{snakemake.wildcards.captioner}"}
    made_by |= {"captions_sha256": sha256_of_file(snakemake.input.captions)}
    made_by |= {"captions_cut": captions_cut(encoder, captions), **made_with(folder)}
    write_cached(snakemake.output[0], list(table["image_id"]), contents, cache, encoder.dim, made_by)
