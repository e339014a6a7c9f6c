# The comparison of all models, the page that people read, and the checksums of everything.
from cladeclip.config.described import shown

# What decides which models and pictures the report looks at closely.
CHOSEN = ordered(
    {"report": {"primary": config["report"]["primary"]}, "encoders": ENCODERS, "weights": config["weights"]}
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
        accuracy=FILES.evaluations("accuracy"),
        predictions=FILES.evaluations("predictions"),
        imports=config["report"]["import"],
    output:
        parquet=RESULTS.table("comparison"),
        csv=report(RESULTS.file("comparison.csv"), category="Comparison"),
        changes=RESULTS.table("changes"),
    log:
        RESULTS.log("compare"),
    benchmark:
        RESULTS.benchmark("compare")
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards: str(RESULTS),
        models=FILES.models(),
        trained=plan.trainings(config),
        code=code("compare"),
    message:
        "Comparing all models."
    script:
        script_of("compare")


rule embeddings_map:
    input:
        comparison=RESULTS.table("comparison"),
        embeddings=FILES.mapped(),
        images=RESULTS.table("images"),
    output:
        RESULTS.table("embeddings_map"),
    log:
        RESULTS.log("embeddings_map"),
    benchmark:
        RESULTS.benchmark("embeddings_map")
    conda:
        ENVIRONMENT
    threads: config["eval"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=1),
        runtime=minutes(120),
    params:
        config=CHOSEN,
        points=config["report"]["map_points"],
        results=lambda wildcards: str(RESULTS),
        code=code("embeddings_map"),
    message:
        "Drawing a map of the embeddings."
    script:
        script_of("embeddings_map")


rule saliency:
    input:
        comparison=RESULTS.table("comparison"),
        predictions=FILES.evaluations("predictions", [FILES.primary_split]),
        models=FILES.students_shown(),
        images=RESULTS.table("images"),
    output:
        RESULTS.table("saliency"),
    log:
        RESULTS.log("saliency"),
    benchmark:
        RESULTS.benchmark("saliency")
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
        results=lambda wildcards: str(RESULTS),
        code=code("saliency", *config["students"]),
    message:
        "Showing what the best student looks at."
    script:
        script_of("saliency")


rule report:
    input:
        comparison=RESULTS.table("comparison"),
        changes=RESULTS.table("changes"),
        evaluations=[FILES.evaluations(table) for table in plan.EVALUATION_TABLES],
        zero_shot=FILES.zero_shot(),
        hierarchies=FILES.hierarchies(),
        pictures=FILES.store() if FILES.hierarchies() or plan.trainings(config) else [],
        histories=FILES.histories_shown(),
        map=RESULTS.table("embeddings_map"),
        saliency=RESULTS.table("saliency") if FILES.histories_shown() else [],
        also=expand("{run}/comparison.parquet", run=config["report"]["also"]),
        encoders=FILES.encoder_records(),
        clusters=FILES.labels(),
        qualities=FILES.labels("quality.json"),
        images=RESULTS.table("images"),
        quarantine=RESULTS.table("quarantine"),
        names=RESULTS.table("names"),
        near_duplicates=rules.split.input.near_duplicates,
        splits=[RESULTS.split(split) for split in config["splits"]],
    output:
        page=report(RESULTS.file("report.html"), category="Report"),
        summary=RESULTS.file("summary.json"),
        figures=directory(RESULTS.file("figures")),
        credits=RESULTS.file("credits.csv"),
    log:
        RESULTS.log("report"),
    benchmark:
        RESULTS.benchmark("report")
    conda:
        ENVIRONMENT
    params:
        config=shown(Config, config),
        results=lambda wildcards: str(RESULTS),
        code=code("report"),
        templates=digests("report"),
    message:
        "Writing {output.page}."
    script:
        script_of("report")


rule manifest:
    input:
        results=FILES.listed(),
        # Not in the manifest: each lists its own files.
        encoders=FILES.encoder_records(),
    output:
        RESULTS.file("manifest.json"),
    log:
        RESULTS.log("manifest"),
    benchmark:
        RESULTS.benchmark("manifest")
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards: str(RESULTS),
        code=code("manifest"),
    message:
        "Writing the checksums of all results."
    script:
        script_of("manifest")


# Not part of `all`: asked for by name. Neither has inputs: they look at what is there, and make nothing.
rule verify:
    log:
        RESULTS.log("verify"),
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards: str(RESULTS),
        weights=config["weights"],
    message:
        "Comparing every result with {params.results}/manifest.json."
    script:
        script_of("verify")


use rule verify as repair with:
    log:
        RESULTS.log("repair"),
    message:
        "Removing what is not as {params.results}/manifest.json says."
