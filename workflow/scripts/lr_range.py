"""The learning-rate range test of a student on its labels: its table and its plot."""

from pathlib import Path

from cladeclip.config.sections import Train
from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.load import load_encoder
from cladeclip.io.atomic import atomic_path, write_text
from cladeclip.reporting.charts import loss_against_lr
from cladeclip.run.cores import workers_for
from cladeclip.run.job_log import job_log
from cladeclip.training.lr_range import lr_range
from cladeclip.training.objective import targets_of

with job_log(snakemake.log[0]):
    params = snakemake.params
    found = lr_range(
        load_encoder(Path(snakemake.input.encoder).parent),
        PictureStore(snakemake.input.store),
        targets_of(params.reader, list(snakemake.input.labels), params.shuffled),
        Train(**params.settings),
        seed=int(snakemake.wildcards.seed),
        workers=workers_for(snakemake.config["train"]["workers"], threads=snakemake.threads),
        **params.range,
    )
    with atomic_path(snakemake.output.table) as temporary:
        found.to_csv(temporary, index=False)
    write_text(snakemake.output.plot, loss_against_lr(found))
