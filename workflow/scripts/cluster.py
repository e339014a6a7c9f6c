"""Clusters a teacher's embeddings of the fit images."""

from cladeclip.atomic import write_json
from cladeclip.clustering.kmeans import kmeans
from cladeclip.clustering.quality import fit_images, label_quality, labels_table
from cladeclip.encoders.fusion import normalise
from cladeclip.job_log import job_log
from cladeclip.tables import CLUSTERS, IMAGES, SPLIT, read_table, rows_for, write_embeddings, write_table

with job_log(snakemake.log[0]):
    images, split = read_table(snakemake.input.images, IMAGES), read_table(snakemake.input.split, SPLIT)
    fit = fit_images(images, split)
    k, settings = int(snakemake.wildcards.k), {name: snakemake.params[name] for name in ("seed", "max_iterations")}
    # On the unit sphere, as the students' loss is: Euclidean k-means then agrees with cosine similarity.
    found = kmeans(normalise(rows_for(snakemake.input.embeddings, list(fit["image_id"]))), k, **settings)
    quality = label_quality(found.labels, fit) | {"k": k, "inertia": found.inertia, "iterations": found.iterations}
    made_by = dict(snakemake.wildcards) | settings
    write_table(snakemake.output.labels, CLUSTERS, labels_table(fit, found.labels, found.distances), made_by)
    write_embeddings(snakemake.output.centroids, [f"{i:08d}" for i in range(k)], found.centroids, made_by)
    write_json(snakemake.output.quality, quality | {"converged": found.converged})
