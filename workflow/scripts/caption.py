"""Writes one caption a picture."""

from cladeclip.captioning.captions import captions_table
from cladeclip.captioning.specs import Place, kind_named
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import CAPTIONS, IMAGES

with job_log(snakemake.log[0]):
    images, params = read_table(snakemake.input.images, IMAGES), snakemake.params
    place = Place(params.root, str(snakemake.input.model), params.cache, params.rows)
    captions = kind_named(params.captioner["kind"]).code().captions(images, params.captioner, place)
    table = captions_table(list(images["image_id"]), captions)
    made_by = {"captioner": snakemake.wildcards.captioner, **params.captioner}
    write_table(snakemake.output[0], CAPTIONS, table, made_by)
