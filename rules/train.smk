# Students: an encoder trained to tell the classes of its labels apart. The checkpoint is an encoder folder.
TRAIN = config["train"]
# Keys that change how a training runs, but not its result.
RUNNING = {"workers", "threads", "gpus", "checkpoint_minutes", "lr_range"}
TRAIN_SETTINGS = ordered({key: value for key, value in TRAIN.items() if key not in RUNNING})
CHECKPOINT = f"{RESULTS}/{{split}}/checkpoints/{{student}}.{{labels}}.seed{{seed}}"


rule train:
    input:
        encoder=f"{WEIGHTS}/{{student}}/encoder.json",
        store=f"{RESULTS}/store/{TRAIN['store_px']}.arrow",
        labels=f"{RESULTS}/{{split}}/clusters/{{labels}}.parquet",
    output:
        model=f"{CHECKPOINT}/model.safetensors",
        config=f"{CHECKPOINT}/{CHECKPOINT_CONFIGS['open_clip']}",
        history=f"{CHECKPOINT}/training.csv",
    log:
        f"{LOGS}/train/{{split}}/{{student}}.{{labels}}.seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/train/{{split}}/{{student}}.{{labels}}.seed{{seed}}.tsv"
    wildcard_constraints:
        student=of_family("open_clip"),
    # The longest jobs first: what is short fills the gaps that they leave.
    priority: 10
    conda:
        ENVIRONMENT
    threads: TRAIN["threads"]
    resources:
        **gpus(TRAIN["gpus"]),
        mem_mb=memory(4000 * max(1, TRAIN["gpus"]), per_weights=8),
        runtime=minutes(120, per_mb=0.004 * TRAIN["epochs"] / max(1, TRAIN["gpus"]), of="store"),
    params:
        settings=TRAIN_SETTINGS,
        events=f"{LOGS}/train/{{split}}/{{student}}.{{labels}}.seed{{seed}}",
        code=lambda wildcards: code("train", wildcards.student),
    message:
        "Training {wildcards.student} on {wildcards.labels}, seed {wildcards.seed} ({wildcards.split})."
    script:
        script_of("train")


# Not part of `all`: asked for by name, to find a learning rate.
rule lr_range:
    input:
        encoder=rules.train.input.encoder,
        store=rules.train.input.store,
        labels=rules.train.input.labels,
    output:
        table=f"{RESULTS}/lr_range/{{split}}/{{student}}.{{labels}}.seed{{seed}}.csv",
        plot=f"{RESULTS}/lr_range/{{split}}/{{student}}.{{labels}}.seed{{seed}}.svg",
    log:
        f"{LOGS}/lr_range/{{split}}/{{student}}.{{labels}}.seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/lr_range/{{split}}/{{student}}.{{labels}}.seed{{seed}}.tsv"
    conda:
        ENVIRONMENT
    threads: TRAIN["threads"]
    resources:
        **gpus(min(1, TRAIN["gpus"])),
        mem_mb=memory(4000, per_weights=8),
        runtime=minutes(240),
    params:
        settings=TRAIN_SETTINGS,
        range=ordered(TRAIN["lr_range"]),
        code=lambda wildcards: code("lr_range", wildcards.student),
    message:
        "Range test of the learning rate: {wildcards.student} on {wildcards.labels} ({wildcards.split})."
    script:
        script_of("lr_range")


use rule train as train_timm with:
    output:
        model=f"{CHECKPOINT}/model.safetensors",
        config=f"{CHECKPOINT}/{CHECKPOINT_CONFIGS['timm']}",
        history=f"{CHECKPOINT}/training.csv",
    wildcard_constraints:
        student=of_family("timm"),


use rule train as train_unicom with:
    output:
        model=f"{CHECKPOINT}/model.safetensors",
        config=f"{CHECKPOINT}/{CHECKPOINT_CONFIGS['unicom']}",
        history=f"{CHECKPOINT}/training.csv",
    wildcard_constraints:
        student=of_family("unicom"),


use rule train_timm as train_transformers with:
    wildcard_constraints:
        student=of_family("transformers"),
