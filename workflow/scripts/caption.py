"""Writes one caption a picture."""

from cladeclip.captioning.captions import captions_table, from_file, from_template
from cladeclip.job_log import job_log
from cladeclip.tables import CAPTIONS, IMAGES, read_table, write_table

with job_log(snakemake.log[0]):
    images = read_table(snakemake.input.images, IMAGES)
    captioner = dict(snakemake.params.captioner)
    match captioner.pop("kind"):
        case "template":
            captions = from_template(images, **captioner)
        case "file":
            captions = from_file(images, **captioner)
        case "internvl":
            from cladeclip.captioning.internvl import from_internvl

            captions = from_internvl(snakemake.params.root, list(images["image_id"]), **captioner)
    table = captions_table(list(images["image_id"]), captions)
    made_by = {"captioner": snakemake.wildcards.captioner, **snakemake.params.captioner}
    write_table(snakemake.output[0], CAPTIONS, table, made_by)
