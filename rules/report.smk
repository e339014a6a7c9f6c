# The comparison of all models, the page that people read, and the checksums of everything.


# The settings that the report shows and that make it again: without those that change how a job runs, not its result.
SETTINGS = ordered(
    {
        stage: (
            {key: value for key, value in settings.items() if key not in RUNNING | {"shards"}}
            if stage in ("embed", "cluster", "train", "eval")
            else settings
        )
        for stage, settings in config.items()
        if stage != "identify"
    }
)
# What decides which models and pictures the report looks at closely.
CHOSEN = ordered({"report": {"primary": config["report"]["primary"]}, "encoders": ENCODERS, "weights": WEIGHTS})
TEMPLATES = sorted(
    path for kind in ("html", "css", "js") for path in Path(SOURCE, "cladeclip/reporting").glob(f"*.{kind}")
)


# The rules below name thousands of inputs in a large sweep. They name them as paths, never as rules.x.output: with a single one
# of those Snakemake compares every input with every other, a third of the time of a plan.


localrules:
    compare,
    report,
    manifest,
    verify,
    repair,


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
        trained=TRAININGS,
        code=code("compare"),
    message:
        "Comparing all models."
    script:
        script_of("compare")


rule embeddings_map:
    input:
        comparison=f"{RESULTS}/comparison.parquet",
        embeddings=embeddings_mapped(),
        images=f"{RESULTS}/images.parquet",
    output:
        f"{RESULTS}/embeddings_map.parquet",
    log:
        f"{LOGS}/embeddings_map.log",
    benchmark:
        f"{BENCHMARKS}/embeddings_map.tsv"
    conda:
        ENVIRONMENT
    threads: config["eval"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=1),
        runtime=minutes(120),
    params:
        config=CHOSEN,
        points=config["report"]["map_points"],
        results=lambda wildcards: RESULTS,
        code=code("embeddings_map"),
    message:
        "Drawing a map of the embeddings."
    script:
        script_of("embeddings_map")


rule saliency:
    input:
        comparison=f"{RESULTS}/comparison.parquet",
        predictions=predictions_shown(),
        models=models_shown(),
        images=f"{RESULTS}/images.parquet",
    output:
        f"{RESULTS}/saliency.parquet",
    log:
        f"{LOGS}/saliency.log",
    benchmark:
        f"{BENCHMARKS}/saliency.tsv"
    conda:
        ENVIRONMENT
    threads: config["eval"]["threads"]
    resources:
        mem_mb=memory(3000),
        runtime=minutes(60),
        # A few dozen pictures: a GPU is used where there is one, but not worth waiting for.
        gpu=0,
    params:
        config=CHOSEN,
        root=ROOT,
        results=lambda wildcards: RESULTS,
        code=code("saliency", *STUDENTS),
    message:
        "Showing what the best student looks at."
    script:
        script_of("saliency")


rule report:
    input:
        comparison=f"{RESULTS}/comparison.parquet",
        changes=f"{RESULTS}/changes.parquet",
        evaluations=[evaluations(table) for table in EVALUATION_TABLES],
        zero_shot=zero_shot_tables(),
        hierarchies=hierarchies(),
        pictures=rules.train.input.store if hierarchies() or TRAININGS else [],
        histories=histories_shown(),
        map=f"{RESULTS}/embeddings_map.parquet",
        saliency=f"{RESULTS}/saliency.parquet" if histories_shown() else [],
        also=expand("{run}/comparison.parquet", run=config["report"]["also"]),
        encoders=encoder_records(),
        clusters=label_files("parquet"),
        qualities=label_files("quality.json"),
        images=f"{RESULTS}/images.parquet",
        quarantine=f"{RESULTS}/quarantine.parquet",
        names=f"{RESULTS}/names.parquet",
        near_duplicates=rules.split.input.near_duplicates,
        splits=[f"{RESULTS}/{split}/split.parquet" for split in config["splits"]],
    output:
        page=report(f"{RESULTS}/report.html", category="Report"),
        summary=f"{RESULTS}/summary.json",
        figures=directory(f"{RESULTS}/figures"),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        ENVIRONMENT
    params:
        config=SETTINGS,
        results=lambda wildcards: RESULTS,
        code=code("report"),
        templates=[sha256_of_file(template)[:16] for template in TEMPLATES],
    message:
        "Writing {output.page}."
    script:
        script_of("report")


rule manifest:
    input:
        results=sorted(
            {
                *(
                    f"{RESULTS}/{table}.parquet"
                    for table in ("images", "quarantine", "names", "comparison", "changes")
                ),
                f"{RESULTS}/comparison.csv",
                *(path for table in EVALUATION_TABLES for path in evaluations(table)),
                *zero_shot_tables(),
                *hierarchies(),
                *label_files("quality.json"),
                *label_files("parquet"),
                *label_files("centroids.parquet", clusters_alone=True),
                *checkpoints(),
                *checkpoint_configs(),
                *checkpoints("training.csv"),
                *([rules.train.input.store] if TRAININGS else []),
                *(f"{RESULTS}/{split}/split.parquet" for split in config["splits"]),
                *teachers_features(),
                *(
                    embeddings_path(model, split)
                    for split in config["splits"]
                    for model in plan.all_models(config, split)
                ),
            }
        ),
        # Not in the manifest: each lists its own files.
        encoders=encoder_records(),
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


# Not part of `all`: asked for by name. Neither has inputs: they look at what is there, and make nothing.
rule verify:
    log:
        f"{LOGS}/verify.log",
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards: RESULTS,
        weights=WEIGHTS,
    message:
        "Comparing every result with {params.results}/manifest.json."
    script:
        script_of("verify")


use rule verify as repair with:
    log:
        f"{LOGS}/repair.log",
    message:
        "Removing what is not as {params.results}/manifest.json says."
