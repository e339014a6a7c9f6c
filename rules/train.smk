# Students: an encoder trained to tell the classes of its labels apart. The checkpoint is an encoder folder.

TRAIN = config["train"]
TRAIN_SETTINGS = deciding(Train, TRAIN)
TRAINED_MODEL = str(Model("{student}", "{labels}", "{seed}"))
INTERPOLATED_MODEL = f"{TRAINED_MODEL}.alpha{{percent}}"


rule train:
    input:
        encoder=WEIGHTS.encoder("{student}"),
        store=FILES.store(),
        labels=lambda wildcards: FILES.learned_from(wildcards.split, wildcards.labels),
    output:
        record=RESULTS.checkpoint("{split}", TRAINED_MODEL, "encoder.json"),
        model=RESULTS.checkpoint("{split}", TRAINED_MODEL),
        history=RESULTS.checkpoint("{split}", TRAINED_MODEL, "training.csv"),
    log:
        RESULTS.log(f"train/{{split}}/{TRAINED_MODEL}"),
    benchmark:
        RESULTS.benchmark(f"train/{{split}}/{TRAINED_MODEL}")
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
        events=RESULTS.events(f"train/{{split}}/{TRAINED_MODEL}"),
        reader=read_by,
        shuffled=shuffled_by,
        code=lambda wildcards: code("train", wildcards.student, chosen=chosen_of(wildcards)),
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
        table=RESULTS.lr_range("{split}", TRAINED_MODEL, "csv"),
        plot=RESULTS.lr_range("{split}", TRAINED_MODEL, "svg"),
    log:
        RESULTS.log(f"lr_range/{{split}}/{TRAINED_MODEL}"),
    benchmark:
        RESULTS.benchmark(f"lr_range/{{split}}/{TRAINED_MODEL}")
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
        reader=read_by,
        shuffled=shuffled_by,
        code=lambda wildcards: code("lr_range", wildcards.student, chosen=chosen_of(wildcards)),
    message:
        "Range test of the learning rate: {wildcards.student} on {wildcards.labels} ({wildcards.split})."
    script:
        script_of("lr_range")


rule interpolate:
    input:
        encoder=WEIGHTS.encoder("{student}"),
        record=rules.train.output.record,
        trained=rules.train.output.model,
    output:
        record=RESULTS.checkpoint("{split}", INTERPOLATED_MODEL, "encoder.json"),
        model=RESULTS.checkpoint("{split}", INTERPOLATED_MODEL),
    log:
        RESULTS.log(f"interpolate/{{split}}/{INTERPOLATED_MODEL}"),
    benchmark:
        RESULTS.benchmark(f"interpolate/{{split}}/{INTERPOLATED_MODEL}")
    wildcard_constraints:
        percent=r"[1-9]\d?",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(2000, per_weights=3),
        runtime=minutes(20),
    params:
        code=code("interpolate"),
    message:
        "{wildcards.percent} % of what training changed: {wildcards.student} on {wildcards.labels} ({wildcards.split})."
    script:
        script_of("interpolate")
