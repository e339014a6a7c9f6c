# One job a model and split: the seed report's table, every query's prediction, and the measures of metric learning.


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
        query_share=config["eval"]["query_share"],
        seed=config["eval"]["seed"],
        genus_only_names=config["eval"]["genus_only_names"],
        repeats=config["eval"]["repeats"],
        code=code("evaluate"),
    message:
        "Evaluating {wildcards.model} ({wildcards.split})."
    script:
        script_of("evaluate")
