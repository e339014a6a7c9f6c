# Trained students to give away: the checkpoint's files with a model card. Asked for by name, or all of them by `release`.
TRAINED = rf"{NAME}\.{NAME}\.seed\d+"


localrules:
    release,
    release_one,


rule release:
    input:
        [f"{RESULTS}/{split}/release/{model}/README.md" for split, model in TRAININGS],
    message:
        f"Every trained student lies in {RESULTS}/SPLIT/release."


rule release_one:
    input:
        model=f"{RESULTS}/{{split}}/checkpoints/{{model}}/model.safetensors",
        accuracy=f"{RESULTS}/{{split}}/evaluation/{{model}}/accuracy.parquet",
        before=lambda wildcards: f"{RESULTS}/{wildcards.split}/evaluation/{Model.parse(wildcards.model).student}/accuracy.parquet",
        quality=lambda wildcards: f"{RESULTS}/{wildcards.split}/clusters/{Model.parse(wildcards.model).labels}.quality.json",
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        f"{RESULTS}/{{split}}/release/{{model}}/README.md",
    log:
        f"{LOGS}/release/{{split}}/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/release/{{split}}/{{model}}.tsv"
    wildcard_constraints:
        model=TRAINED,
    conda:
        ENVIRONMENT
    params:
        config=ordered({key: config[key] for key in ("dataset", "encoders")}),
        settings=TRAIN_SETTINGS,
        code=code("release_one"),
    message:
        "A model card for {wildcards.model} ({wildcards.split})."
    script:
        script_of("release_one")
