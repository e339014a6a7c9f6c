"""Clusters a teacher's embeddings of the fit images."""

from cladeclip.clustering.cluster import clusters_of
from cladeclip.clustering.quality import fit_images
from cladeclip.io.atomic import write_json
from cladeclip.io.embeddings import write_embeddings
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import CLUSTERS, IMAGES, SPLIT

with job_log(snakemake.log[0]):
    images, split = read_table(snakemake.input.images, IMAGES), read_table(snakemake.input.split, SPLIT)
    k, settings = (
        int(snakemake.wildcards.k),
        {name: snakemake.params[name] for name in ("max_points", "max_iterations")},
    )
    seed, restarts = snakemake.params.seed, snakemake.params.restarts
    fit = fit_images(images, split)
    found = clusters_of(snakemake.input.embeddings, fit, k, seed=seed, restarts=restarts, **settings)
    made_by = dict(snakemake.wildcards) | settings | {"seed": seed}
    write_table(snakemake.output.labels, CLUSTERS, found.table, made_by | {"n_classes": k})
    write_embeddings(snakemake.output.centroids, [f"{i:08d}" for i in range(k)], found.centroids, made_by)
    write_json(snakemake.output.quality, found.quality)
