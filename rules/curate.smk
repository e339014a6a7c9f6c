# What a curator should look at, and the page to decide it on. Not part of `all`: asked for by name.
from cladeclip.reporting.words import describe_model


rule curate:
    input:
        embeddings=rules.evaluate.input.embeddings,
        images=rules.prepare.output.images,
        store=FILES.store(),
    output:
        **{table: RESULTS.curation("{split}", "{model}", f"{table}.parquet") for table in plan.CURATION_TABLES},
    log:
        RESULTS.log("curate/{split}/{model}"),
    benchmark:
        RESULTS.benchmark("curate/{split}/{model}")
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=memory(4000, per_input=8, of="embeddings"),
        runtime=minutes(30, per_mb=1, of="embeddings"),
    params:
        curate=deciding(Curate, config["curate"]),
        hierarchy=ordered(config["hierarchy"]),
        seed=SEEDS["queries"],
        code=code("curate"),
    message:
        "Listing what a curator should look at, by {wildcards.model} ({wildcards.split})."
    script:
        script_of("curate")


rule curate_page:
    input:
        tables=[rules.curate.output[table] for table in plan.CURATION_TABLES],
        images=rules.prepare.output.images,
        store=FILES.store(),
        decisions=DATASET["decisions"] or [],
    output:
        RESULTS.curation("{split}", "{model}", "curate.html"),
    log:
        RESULTS.log("curate_page/{split}/{model}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        results=lambda wildcards: str(RESULTS),
        max_mb=config["curate"]["max_mb"],
        decisions=DATASET["decisions"],
        words=lambda wildcards: describe_model(wildcards.model, config),
        code=code("curate_page"),
        templates=digests("curate"),
    message:
        "Writing {output[0]}."
    script:
        script_of("curate_page")


rule candidates_archive:
    input:
        rules.curate.output.candidates,
    output:
        RESULTS.curation("{split}", "{model}", "candidates.dwca.zip"),
    log:
        RESULTS.log("candidates_archive/{split}/{model}"),
    conda:
        ENVIRONMENT
    params:
        licence=config["identify"]["licence"],
        code=code("candidates_archive"),
    message:
        "Writing {output[0]}."
    script:
        script_of("candidates_archive")
