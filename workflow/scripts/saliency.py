"""Shows what the best student and the same student before training look at, in queries that the report shows."""

from pathlib import Path

import pandas as pd

from cladeclip.encoders.load import load_encoder
from cladeclip.encoders.saliency import overlays
from cladeclip.io.parquet import read_table, write_table
from cladeclip.paths import Results
from cladeclip.reporting.shown import best_student, queries_shown, species_answers
from cladeclip.run.job_log import job_log
from cladeclip.tables import COMPARISON, SALIENCY

with job_log(snakemake.log[0]):
    config, results = snakemake.params.config, Results(snakemake.params.results)
    split = config["report"]["primary"]["split"]
    best = best_student(read_table(snakemake.input.comparison, COMPARISON), config)
    rows = []
    if best is not None:
        kinds = queries_shown(results, split, str(best), best.student)
        queries = [image_id for kind in kinds for image_id in kind["image_ids"]]
        checkpoint = Path(results.checkpoint(split, str(best))).parent
        for model, folder in ((best.student, Path(config["weights"], best.student)), (str(best), checkpoint)):
            nearest = list(species_answers(results, split, model).loc[queries, "nearest_image_id"])
            shown = overlays(load_encoder(folder), snakemake.params.root, queries, nearest)
            rows.append(shown.assign(model=model))
    table = pd.concat(rows) if rows else pd.DataFrame(columns=list(SALIENCY.columns))
    write_table(snakemake.output[0], SALIENCY, table, {"method": "gradient x activation (captum)"})
