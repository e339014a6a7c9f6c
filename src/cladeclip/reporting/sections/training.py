"""The section of the trainings' course."""

import pandas as pd

from cladeclip.names import Model
from cladeclip.paths import Results
from cladeclip.reporting.charts import PALETTE, Chart, course_of_training


def training_chart(results: Results, split: str, models: list[str], compared: list[str]) -> Chart | None:
    """The course of the trainings of a split; None where there is none, or none took a step.

    With more trainings than colours, only those compared.
    """
    trained = sorted(model for model in models if Model.parse(model))
    if len(trained) > len(PALETTE):
        trained = [model for model in trained if model in compared]
    histories = []
    for model in trained:
        history = pd.read_csv(results.checkpoint(split, model, "training.csv"))
        histories.append(history[["epoch", "loss", "target_cosine"]].assign(model=model))
    history = pd.concat(histories, ignore_index=True) if histories else pd.DataFrame()
    return course_of_training(history) if len(history) else None
