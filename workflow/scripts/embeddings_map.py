"""Places pictures on the plane by the embeddings of the models that the report draws."""

from cladeclip.evaluation.embeddings_map import SEED, maps_of
from cladeclip.io.parquet import read_table, write_table
from cladeclip.paths import Results
from cladeclip.reporting.shown import models_mapped
from cladeclip.run.job_log import job_log
from cladeclip.tables import COMPARISON, EMBEDDINGS_MAP, IMAGES

with job_log(snakemake.log[0]):
    results, config = Results(snakemake.params.results), snakemake.params.config
    models = models_mapped(read_table(snakemake.input.comparison, COMPARISON), config)
    embeddings = {model: results.embeddings(model, config["report"]["primary"]["split"]) for model in models}
    ids = read_table(snakemake.input.images, IMAGES)["image_id"].to_list()
    table = maps_of(embeddings, ids, points=snakemake.params.points, threads=snakemake.threads)
    write_table(snakemake.output[0], EMBEDDINGS_MAP, table, {"seed": str(SEED)})
