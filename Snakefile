from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

# A folder of results elsewhere (--directory, or a workflow that uses this one) may have a config of its own.
DEFAULTS = Path("config/config.yaml")


configfile: str(DEFAULTS if DEFAULTS.exists() else Path(workflow.basedir, DEFAULTS))


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/resources.smk"
include: "rules/prepare.smk"
include: "rules/caption.smk"
include: "rules/embed.smk"
include: "rules/cluster.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/hierarchy.smk"
include: "rules/report.smk"
include: "rules/curate.smk"
include: "rules/release.smk"


# Saves what the fingerprints of all scripts are made of for the next command: jobs ask for some of them only later.
remember(*HOME.glob("workflow/scripts/*.py"))


localrules:
    all,


rule all:
    default_target: True
    input:
        FILES.all(),
    message:
        "All results are up to date."


onerror:
    print(
        "\nWhat failed stands above, with its log. Nothing that was finished is lost: mend the cause, and the same command"
        "\ngoes on from there. `make doctor` checks this machine and what the run needs.\n",
        file=sys.stderr,
    )
