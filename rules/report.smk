# The comparison of all models, the page that people read, and the checksums of everything.


# The parts of the config that the report shows or needs.
SHOWN = (
    "dataset",
    "encoders",
    "labels",
    "splits",
    "split",
    "students",
    "baselines",
    "seeds",
    "eval",
    "hierarchy",
    "report",
)
TEMPLATES = sorted(path for kind in ("html", "js") for path in Path(SOURCE, "cladeclip/reporting").glob(f"*.{kind}"))


localrules:
    compare,
    report,
    manifest,


rule compare:
    input:
        accuracy=evaluations("accuracy"),
        predictions=evaluations("predictions"),
        imports=config["report"]["import"],
    output:
        parquet=f"{RESULTS}/comparison.parquet",
        csv=report(f"{RESULTS}/comparison.csv", category="Comparison"),
        changes=f"{RESULTS}/changes.parquet",
    log:
        f"{LOGS}/compare.log",
    benchmark:
        f"{BENCHMARKS}/compare.tsv"
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards: RESULTS,
        trained=[(split, model) for split in config["splits"] for model in trained_models()],
        code=code("compare"),
    message:
        "Comparing all models."
    script:
        script_of("compare")


rule report:
    input:
        comparison=rules.compare.output.parquet,
        changes=rules.compare.output.changes,
        evaluations=[evaluations(table) for table in EVALUATION_TABLES],
        zero_shot=zero_shot_tables(),
        hierarchies=hierarchies(),
        pictures=rules.train.input.store if hierarchies() or trained_models() else [],
        embeddings=embeddings_shown(),
        histories=histories_shown(),
        clusters=[quality.replace(".quality.json", ".parquet") for quality in cluster_qualities()],
        qualities=cluster_qualities(),
        images=rules.prepare.output.images,
        quarantine=rules.prepare.output.quarantine,
        splits=expand(rules.split.output[0], split=config["splits"]),
    output:
        page=report(f"{RESULTS}/report.html", category="Report"),
        summary=f"{RESULTS}/summary.json",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        ENVIRONMENT
    params:
        config=ordered({key: config[key] for key in SHOWN} | {"train": TRAIN_SETTINGS}),
        results=lambda wildcards: RESULTS,
        code=code("report"),
        templates=[sha256_of_file(template)[:16] for template in TEMPLATES],
    message:
        "Writing {output.page}."
    script:
        script_of("report")


rule manifest:
    input:
        rules.prepare.output,
        rules.compare.output,
        [evaluations(table) for table in EVALUATION_TABLES],
        zero_shot_tables(),
        hierarchies(),
        cluster_qualities(),
        [quality.replace(".quality.json", ".parquet") for quality in cluster_qualities()],
        checkpoints(),
        expand(rules.split.output[0], split=config["splits"]),
        sorted({embeddings_path(model, split) for split in config["splits"] for model in all_models()}),
    output:
        f"{RESULTS}/manifest.json",
    log:
        f"{LOGS}/manifest.log",
    benchmark:
        f"{BENCHMARKS}/manifest.tsv"
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards: RESULTS,
        code=code("manifest"),
    message:
        "Writing the checksums of all results."
    script:
        script_of("manifest")
