# One job a model and split: the seed report's table, every query's prediction, and the measures of metric learning.

# Who asks whom; see evaluation/subsets.py.
QUERIES = {key: config["eval"][key] for key in ("query_share", "seed", "genus_only_names")}


rule evaluate:
    input:
        embeddings=lambda wildcards: embeddings_path(wildcards.model, wildcards.split),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        **{table: f"{RESULTS}/{{split}}/evaluation/{{model}}/{table}.parquet" for table in EVALUATION_TABLES},
    log:
        f"{LOGS}/evaluate/{{split}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{split}}/{{model}}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        **QUERIES,
        repeats=config["eval"]["repeats"],
        probe=ordered(config["eval"]["probe"]),
        code=code("evaluate"),
    message:
        "Evaluating {wildcards.model} ({wildcards.split})."
    script:
        script_of("evaluate")


rule zero_shot:
    input:
        embeddings=rules.evaluate.input.embeddings,
        encoder=lambda wildcards: encoder_of_model(wildcards.model, wildcards.split),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        f"{RESULTS}/{{split}}/evaluation/{{model}}/zero_shot.parquet",
    log:
        f"{LOGS}/zero_shot/{{split}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/zero_shot/{{split}}/{{model}}.tsv"
    conda:
        ENVIRONMENT
    threads: EMBED["threads"]
    resources:
        mem_mb=16000,
        runtime=120,
        gpu=1,
    params:
        queries=QUERIES,
        batch_size=EMBED["text_batch_size"],
        precision=EMBED["precision"],
        code=code("zero_shot"),
    message:
        "Naming pictures by their names, with the text tower of {wildcards.model} ({wildcards.split})."
    script:
        script_of("zero_shot")
