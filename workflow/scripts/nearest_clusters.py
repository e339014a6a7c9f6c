"""The clusters nearest to each fit image, its own first."""

from cladeclip.clustering.several import nearest_clusters
from cladeclip.io.embeddings import read_embeddings
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.job_log import job_log
from cladeclip.tables import CLUSTERS, NEAREST_CLUSTERS

with job_log(snakemake.log[0]):
    found, (_, centroids) = snakemake.input, read_embeddings(snakemake.input.centroids)
    clusters = read_table(found.labels, CLUSTERS)
    table = nearest_clusters(found.embeddings, clusters, centroids, int(snakemake.wildcards.top))
    write_table(snakemake.output[0], NEAREST_CLUSTERS, table, dict(snakemake.wildcards) | {"n_classes": len(centroids)})
