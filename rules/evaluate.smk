# One job a model and split: the four accuracies, every query's prediction, and the measures of metric learning.

# How queries and gallery are drawn; see evaluation/protocol.py.
QUERIES = {key: config["eval"][key] for key in ("query_share", "genus_only_names")} | {"seed": SEEDS["queries"]}


rule evaluate:
    input:
        embeddings=lambda wildcards: RESULTS.embeddings(wildcards.model, wildcards.split),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        **{table: RESULTS.evaluation("{split}", "{model}", table) for table in plan.EVALUATION_TABLES},
    log:
        RESULTS.log("evaluate/{split}/{model}"),
    benchmark:
        RESULTS.benchmark("evaluate/{split}/{model}")
    conda:
        ENVIRONMENT
    threads: config["eval"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=4, of="embeddings"),
        runtime=minutes(30, per_mb=0.2, of="embeddings"),
    params:
        **QUERIES,
        repeats=config["eval"]["repeats"],
        one_by_one=lambda wildcards: wildcards.model in ENCODERS,
        probe=ordered(config["eval"]["probe"]),
        code=code("evaluate"),
    message:
        "Evaluating {wildcards.model} ({wildcards.split})."
    script:
        script_of("evaluate")


rule zero_shot:
    input:
        embeddings=rules.evaluate.input.embeddings,
        encoder=lambda wildcards: FILES.weights_of(wildcards.model, wildcards.split),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        RESULTS.evaluation("{split}", "{model}", "zero_shot"),
    log:
        RESULTS.log("zero_shot/{split}/{model}"),
    benchmark:
        RESULTS.benchmark("zero_shot/{split}/{model}")
    conda:
        ENVIRONMENT
    threads: EMBED["threads"]
    resources:
        **gpus(1),
        mem_mb=memory(3000, per_input=4, per_weights=3, of="embeddings"),
        runtime=minutes(60, per_mb=0.2, of="embeddings"),
    params:
        queries=QUERIES,
        batch_size=EMBED["text_batch_size"],
        precision=EMBED["precision"],
        code=lambda wildcards: code("zero_shot", wildcards.model),
    message:
        "Naming pictures by their names, with the text tower of {wildcards.model} ({wildcards.split})."
    script:
        script_of("zero_shot")
