"""The learning-rate range test of a student on its labels: its table and its plot."""

from pathlib import Path

from cladeclip.config.sections import Train
from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.load import load_encoder
from cladeclip.io.atomic import atomic_path, write_text
from cladeclip.io.parquet import read_metadata, read_table
from cladeclip.reporting.charts import loss_against_lr
from cladeclip.run.cores import workers_for
from cladeclip.run.job_log import job_log
from cladeclip.tables import CLUSTERS
from cladeclip.training.lr_range import lr_range

with job_log(snakemake.log[0]):
    labels = read_table(snakemake.input.labels, CLUSTERS)
    found = lr_range(
        load_encoder(Path(snakemake.input.encoder).parent),
        PictureStore(snakemake.input.store),
        list(labels["image_id"]),
        labels["label"].to_numpy(),
        int(read_metadata(snakemake.input.labels)["n_classes"]),
        Train(**snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
        workers=workers_for(snakemake.config["train"]["workers"], threads=snakemake.threads),
        **snakemake.params.range,
    )
    with atomic_path(snakemake.output.table) as temporary:
        found.to_csv(temporary, index=False)
    write_text(snakemake.output.plot, loss_against_lr(found))
