"""Embeds every caption with an encoder's text tower."""

from pathlib import Path

from cladeclip.encoders.embed import embed_texts
from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.weights import made_with
from cladeclip.job_log import job_log
from cladeclip.tables import CAPTIONS, read_table, write_embeddings

with job_log(snakemake.log[0]):
    folder = Path(snakemake.input.encoder).parent
    captions = read_table(snakemake.input.captions, CAPTIONS)
    embeddings = embed_texts(load_encoder(folder), list(captions["caption"]), batch_size=snakemake.params.batch_size)
    made_by = {"encoder": snakemake.wildcards.encoder, "features": f"text-{snakemake.wildcards.captioner}"}
    write_embeddings(snakemake.output[0], list(captions["image_id"]), embeddings, made_by | made_with(folder))
