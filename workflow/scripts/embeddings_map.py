"""Places pictures on the plane by the embeddings of the models that the report draws."""

import numpy as np
import pandas as pd

from cladeclip.evaluation.embeddings_map import on_the_plane
from cladeclip.job_log import job_log
from cladeclip.paths import Results
from cladeclip.random_streams import stream_of
from cladeclip.reporting.shown import models_mapped
from cladeclip.tables import COMPARISON, EMBEDDINGS_MAP, IMAGES, read_table, rows_for, write_table

# Of the draw, where there are more pictures than points, and of t-SNE.
SEED = 0

with job_log(snakemake.log[0]):
    results, config = Results(snakemake.params.results), snakemake.params.config
    ids = read_table(snakemake.input.images, IMAGES)["image_id"].to_numpy()
    drawn = stream_of(SEED, "map").permutation(len(ids))[: snakemake.params.points]
    ids = ids[np.sort(drawn)]
    models = models_mapped(read_table(snakemake.input.comparison, COMPARISON), config)
    maps = []
    for model in models:
        embeddings = rows_for(results.embeddings(model, config["report"]["primary"]["split"]), ids)
        places = on_the_plane(embeddings, seed=SEED, threads=snakemake.threads)
        maps.append(places.assign(model=model, image_id=ids))
    write_table(snakemake.output[0], EMBEDDINGS_MAP, pd.concat(maps), {"seed": str(SEED)})
