# Answers at several ranks and new species: heads on a model's embeddings. Part of `all` on open splits.


rule hierarchy:
    input:
        embeddings=rules.evaluate.input.embeddings,
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        **{table: RESULTS.evaluation("{split}", "{model}", table) for table in plan.HIERARCHY_TABLES},
    log:
        RESULTS.log("hierarchy/{split}/{model}"),
    benchmark:
        RESULTS.benchmark("hierarchy/{split}/{model}")
    conda:
        ENVIRONMENT
    threads: config["eval"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=4, of="embeddings"),
        runtime=minutes(30, per_mb=0.2, of="embeddings"),
    params:
        queries={key: QUERIES[key] for key in ("query_share", "seed")},
        hierarchy=ordered(config["hierarchy"]),
        code=code("hierarchy"),
    message:
        "Naming pictures at several ranks by {wildcards.model} ({wildcards.split})."
    script:
        script_of("hierarchy")


rule name_unnamed:
    input:
        embeddings=rules.evaluate.input.embeddings,
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        parquet=RESULTS.unnamed("{split}", "{model}"),
        csv=RESULTS.unnamed("{split}", "{model}", "csv"),
    log:
        RESULTS.log("name_unnamed/{split}/{model}"),
    benchmark:
        RESULTS.benchmark("name_unnamed/{split}/{model}")
    conda:
        ENVIRONMENT
    threads: config["eval"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=4, of="embeddings"),
        runtime=minutes(30, per_mb=0.2, of="embeddings"),
    params:
        hierarchy=ordered(config["hierarchy"]),
        seed=SEEDS["queries"],
        code=code("name_unnamed"),
    message:
        "Naming the pictures without a species by {wildcards.model} ({wildcards.split})."
    script:
        script_of("name_unnamed")


rule identify:
    input:
        embeddings=rules.evaluate.input.embeddings,
        encoder=lambda wildcards: FILES.weights_of(wildcards.model, wildcards.split),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
        checklist=config["identify"]["checklist"] or [],
    output:
        parquet=RESULTS.identified("{split}", "{model}"),
        csv=RESULTS.identified("{split}", "{model}", "csv"),
        dwca=RESULTS.identified("{split}", "{model}", "dwca.zip"),
    log:
        RESULTS.log("identify/{split}/{model}"),
    benchmark:
        RESULTS.benchmark("identify/{split}/{model}")
    conda:
        ENVIRONMENT
    threads: EMBED["threads"]
    resources:
        **gpus(needs_gpu),
        mem_mb=memory(4000, per_input=4, per_weights=3, of="embeddings"),
        runtime=minutes(120),
    params:
        folder=config["identify"]["images"],
        listing=new_pictures,
        checklist=config["identify"]["checklist"],
        licence=config["identify"]["licence"],
        hierarchy=ordered(config["hierarchy"]),
        embed={key: EMBED[key] for key in ("batch_size", "decode", "precision")},
        seed=SEEDS["queries"],
        code=lambda wildcards: code("identify", wildcards.model),
    message:
        "Naming the new pictures by {wildcards.model} ({wildcards.split})."
    script:
        script_of("identify")
