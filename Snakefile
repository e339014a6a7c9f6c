from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/prepare.smk"
include: "rules/caption.smk"
include: "rules/embed.smk"
include: "rules/cluster.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/hierarchy.smk"
include: "rules/report.smk"
include: "rules/release.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        rules.report.output,
        rules.manifest.output,
        # Every product by name: a deleted one is noticed and made again.
        checkpoints(),
        evaluations(),
        zero_shot_tables(),
        hierarchies(),
    message:
        "All results are up to date."
