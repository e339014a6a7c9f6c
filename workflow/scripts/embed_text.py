"""Embeds every caption with an encoder's text tower."""

from pathlib import Path

from cladeclip.encoders.cached import embed_caption_table
from cladeclip.io.atomic import sha256_of_file
from cladeclip.io.parquet import read_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import CAPTIONS

with job_log(snakemake.log[0]):
    params, wildcards, captions = snakemake.params, snakemake.wildcards, snakemake.input.captions
    made_by = {"encoder": wildcards.encoder, "features": f"text-{wildcards.captioner}"}
    embed_caption_table(
        snakemake.output[0],
        read_table(captions, CAPTIONS),
        Path(snakemake.input.encoder).parent,
        params.cache,
        params.rows,
        made_by | {"captions_sha256": sha256_of_file(captions)},
        **{key: params[key] for key in ("batch_size", "precision")},
    )
