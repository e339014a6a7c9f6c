"""Writes one caption a picture."""

from pathlib import Path

import pyarrow as pa

from cladeclip.atomic import read_json, sha256_of_file
from cladeclip.captioning.captions import captions_table, from_file, from_template
from cladeclip.job_log import job_log
from cladeclip.row_cache import RowCache
from cladeclip.tables import CAPTIONS, IMAGES, read_table, write_table

with job_log(snakemake.log[0]):
    images, params = read_table(snakemake.input.images, IMAGES), snakemake.params
    captioner = dict(params.captioner)
    match captioner.pop("kind"):
        case "template":
            captions = from_template(images, **captioner)
        case "file":
            captions = from_file(images, **captioner)
        case "internvl":
            from cladeclip.captioning.internvl import add_missing_captions

            model = Path(snakemake.input.model)
            key = f"{sha256_of_file(model)} {sorted(captioner.items())} rows {params.rows}"
            cache = RowCache(params.cache, key, pa.string())
            captioner["folder"] = read_json(model)["folder"]
            del captioner["model"]
            ids, contents = list(images["image_id"]), list(images["content_hash"])
            add_missing_captions(root=params.root, image_ids=ids, content_hashes=contents, cache=cache, **captioner)
            captions = cache.take(contents).to_pylist()
    table = captions_table(list(images["image_id"]), captions)
    made_by = {"captioner": snakemake.wildcards.captioner, **params.captioner}
    write_table(snakemake.output[0], CAPTIONS, table, made_by)
