"""Trains a student on its labels and writes its checkpoint."""

from pathlib import Path

from cladeclip.datasets.store import PictureStore
from cladeclip.encoders.load import load_encoder
from cladeclip.job_log import job_log
from cladeclip.tables import CLUSTERS, read_table
from cladeclip.training.checkpoint import save_checkpoint
from cladeclip.training.loop import train
from cladeclip.training.settings import TrainSettings

with job_log(snakemake.log[0]):
    source = Path(snakemake.input.encoder).parent
    encoder, labels = load_encoder(source), read_table(snakemake.input.labels, CLUSTERS)
    history = train(
        encoder,
        PictureStore(snakemake.input.store),
        list(labels["image_id"]),
        labels["label"].to_numpy(),
        TrainSettings.from_config(snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
        workers=snakemake.config["train"]["workers"],
    )
    save_checkpoint(encoder, source, Path(snakemake.output.model).parent, history)
