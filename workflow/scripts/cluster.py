"""Clusters a teacher's embeddings of the fit images."""

from cladeclip.atomic import write_json
from cladeclip.clustering.quality import fit_images, label_quality, labels_table, silhouette, stability
from cladeclip.clustering.streamed import kmeans_of_file
from cladeclip.encoders.fusion import normalise
from cladeclip.job_log import job_log
from cladeclip.tables import CLUSTERS, IMAGES, SPLIT, read_table, rows_for, write_embeddings, write_table

with job_log(snakemake.log[0]):
    images, split = read_table(snakemake.input.images, IMAGES), read_table(snakemake.input.split, SPLIT)
    params, path, k = snakemake.params, snakemake.input.embeddings, int(snakemake.wildcards.k)
    fit = fit_images(images, split)
    ids = list(fit["image_id"])
    settings = {name: params[name] for name in ("max_points", "max_iterations")}
    runs = [kmeans_of_file(path, ids, k, seed=params.seed + i, **settings) for i in range(params.restarts)]
    found = runs[0]
    sample = fit.sample(min(len(fit), 4000), random_state=params.seed).index
    quality = label_quality(found.labels, fit) | {
        "k": k,
        "inertia": found.inertia,
        "iterations": found.iterations,
        "converged": found.converged,
        "stability": stability([run.labels for run in runs]),
        "silhouette": silhouette(normalise(rows_for(path, [ids[i] for i in sample])), found.labels[sample]),
    }
    made_by = dict(snakemake.wildcards) | settings | {"seed": params.seed}
    table = labels_table(fit, found.labels, found.distances)
    write_table(snakemake.output.labels, CLUSTERS, table, made_by | {"n_classes": k})
    write_embeddings(snakemake.output.centroids, [f"{i:08d}" for i in range(k)], found.centroids, made_by)
    write_json(snakemake.output.quality, quality)
