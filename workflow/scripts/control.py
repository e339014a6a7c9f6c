"""Labels that need no teacher: the truth, or labels without meaning."""

from cladeclip.clustering.controls import control_labels
from cladeclip.clustering.quality import fit_images, label_quality, labels_table
from cladeclip.io.atomic import write_json
from cladeclip.io.parquet import read_table, write_table
from cladeclip.names import parse_labels
from cladeclip.run.job_log import job_log
from cladeclip.tables import CLUSTERS, IMAGES, SPLIT

with job_log(snakemake.log[0]):
    fit = fit_images(read_table(snakemake.input.images, IMAGES), read_table(snakemake.input.split, SPLIT))
    control = parse_labels(snakemake.wildcards.control, [])
    labels = control_labels(fit, control, seed=snakemake.params.seed)
    made_by = dict(snakemake.wildcards) | {"seed": snakemake.params.seed, "n_classes": labels.max() + 1}
    write_table(snakemake.output.labels, CLUSTERS, labels_table(fit, labels), made_by)
    write_json(snakemake.output.quality, label_quality(labels, fit))
