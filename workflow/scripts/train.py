"""Trains a student on its labels and writes its checkpoint."""

from pathlib import Path

from cladeclip.run.cores import workers_for
from cladeclip.run.job_log import job_log
from cladeclip.training.job import TrainingJob
from cladeclip.training.launch import launch

with job_log(snakemake.log[0]):
    train = snakemake.config["train"]
    job = TrainingJob(
        encoder=str(Path(snakemake.input.encoder).parent),
        store=snakemake.input.store,
        labels=list(snakemake.input.labels),
        reader=snakemake.params.reader,
        checkpoint=str(Path(snakemake.output.model).parent),
        settings=dict(snakemake.params.settings),
        shuffled=snakemake.params.shuffled,
        seed=int(snakemake.wildcards.seed),
        workers=workers_for(train["workers"], threads=snakemake.threads),
        threads=snakemake.threads,
        checkpoint_minutes=train["checkpoint_minutes"],
        events=snakemake.params.events,
        code=snakemake.params.code,
    )
    launch(job, train["gpus"])
