"""Checks every result against manifest.json; as the rule `repair`, removes what is damaged."""

from cladeclip.run.integrity import repair, verify
from cladeclip.run.job_log import job_log

with job_log(snakemake.log[0]):
    where = (snakemake.params.results, snakemake.params.weights)
    if snakemake.rule == "verify":
        verify(*where)
        print(f"Every result in {where[0]}, and every encoder in {where[1]}, is what was written.")
    else:
        for path in repair(*where):
            print(f"removed {path}")
