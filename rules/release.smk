# Trained students to give away: the checkpoint's files with a model card. Asked for by name, or all of them by `release`.
from cladeclip.names import TRAINED


localrules:
    release,
    release_one,


rule release:
    input:
        FILES.releases(),
    message:
        f"Every trained student lies in {RESULTS}/SPLIT/release."


rule release_one:
    input:
        model=RESULTS.checkpoint("{split}", "{model}"),
        accuracy=RESULTS.evaluation("{split}", "{model}", "accuracy"),
        before=lambda wildcards: RESULTS.evaluation(wildcards.split, Model.parse(wildcards.model).student, "accuracy"),
        qualities=lambda wildcards: FILES.qualities_of(wildcards.split, Model.parse(wildcards.model).labels),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        RESULTS.release("{split}", "{model}"),
    log:
        RESULTS.log("release/{split}/{model}"),
    benchmark:
        RESULTS.benchmark("release/{split}/{model}")
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
