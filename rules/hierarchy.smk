# Answers at several ranks and new species: heads on a model's embeddings. Part of `all` on open splits.


rule hierarchy:
    input:
        embeddings=rules.evaluate.input.embeddings,
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        **{table: f"{RESULTS}/{{split}}/evaluation/{{model}}/{table}.parquet" for table in HIERARCHY_TABLES},
    log:
        f"{LOGS}/hierarchy/{{split}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/hierarchy/{{split}}/{{model}}.tsv"
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
        parquet=f"{RESULTS}/{{split}}/unnamed/{{model}}.parquet",
        csv=f"{RESULTS}/{{split}}/unnamed/{{model}}.csv",
    log:
        f"{LOGS}/name_unnamed/{{split}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/name_unnamed/{{split}}/{{model}}.tsv"
    conda:
        ENVIRONMENT
    threads: config["eval"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=4, of="embeddings"),
        runtime=minutes(30, per_mb=0.2, of="embeddings"),
    params:
        hierarchy=ordered(config["hierarchy"]),
        seed=config["eval"]["seed"],
        code=code("name_unnamed"),
    message:
        "Naming the pictures without a species by {wildcards.model} ({wildcards.split})."
    script:
        script_of("name_unnamed")


rule identify:
    input:
        embeddings=rules.evaluate.input.embeddings,
        encoder=lambda wildcards: encoder_of_model(wildcards.model, wildcards.split),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        parquet=f"{RESULTS}/{{split}}/identify/{{model}}.parquet",
        csv=f"{RESULTS}/{{split}}/identify/{{model}}.csv",
    log:
        f"{LOGS}/identify/{{split}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/identify/{{split}}/{{model}}.tsv"
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
        hierarchy=ordered(config["hierarchy"]),
        embed={key: EMBED[key] for key in ("batch_size", "decode", "precision")},
        seed=config["eval"]["seed"],
        code=lambda wildcards: code("identify", wildcards.model),
    message:
        "Naming the new pictures by {wildcards.model} ({wildcards.split})."
    script:
        script_of("identify")
