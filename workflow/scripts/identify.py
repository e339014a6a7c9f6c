"""Names new pictures by one model, with heads fitted on one split of the data set."""

from pathlib import Path

from cladeclip.clustering.quality import fit_images
from cladeclip.datasets.splits import scored_images
from cladeclip.encoders.load import load_encoder
from cladeclip.hierarchy.identifications import of_identified
from cladeclip.hierarchy.identify import for_a_spreadsheet, identify_folder
from cladeclip.io.atomic import write_text
from cladeclip.io.darwin_core import write_archive
from cladeclip.io.embeddings import rows_for
from cladeclip.io.parquet import read_table, write_table
from cladeclip.run.cores import workers_for
from cladeclip.run.job_log import job_log
from cladeclip.tables import IDENTIFIED, IMAGES, SPLIT

with job_log(snakemake.log[0]):
    params, split = snakemake.params, read_table(snakemake.input.split, SPLIT)
    known = fit_images(scored_images(read_table(snakemake.input.images, IMAGES), split), split)
    found, ranks = identify_folder(
        load_encoder(Path(snakemake.input.encoder).parent),
        params.folder,
        known,
        rows_for(snakemake.input.embeddings, list(known["image_id"])),
        params.hierarchy,
        seed=params.seed,
        workers=workers_for(snakemake.config["embed"]["workers"], threads=snakemake.threads),
        embed=params.embed,
        checklist=params.checklist,
    )
    write_table(snakemake.output.parquet, IDENTIFIED, found, dict(snakemake.wildcards) | dict(params.hierarchy))
    write_text(snakemake.output.csv, for_a_spreadsheet(found, ranks))
    model, folder = snakemake.wildcards.model, Path(params.folder).name
    occurrences = of_identified(found, ranks, model=model)
    write_archive(snakemake.output.dwca, occurrences, title=f"Pictures of {folder} by {model}", licence=params.licence)
