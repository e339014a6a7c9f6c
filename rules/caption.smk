# One caption a picture, for the text and fused features.


def captioner_of(wildcards):
    if wildcards.captioner not in config["captioners"]:
        raise WorkflowError(f"'{wildcards.captioner}' is not defined in `captioners:`.")
    return config["captioners"][wildcards.captioner]


def caption_file(wildcards):
    captioner = captioner_of(wildcards)
    return captioner["path"] if captioner["kind"] == "file" else []


rule caption:
    input:
        images=rules.prepare.output.images,
        file=caption_file,
    output:
        f"{RESULTS}/captions/{{captioner}}.parquet",
    log:
        f"{LOGS}/caption/{{captioner}}.log",
    benchmark:
        f"{BENCHMARKS}/caption/{{captioner}}.tsv"
    threads: config["embed"]["threads"]
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=lambda wildcards: int(captioner_of(wildcards)["kind"] == "internvl"),
    params:
        root=ROOT,
        captioner=captioner_of,
        code=code("caption"),
    message:
        "Captioning with '{wildcards.captioner}'."
    conda:
        ENVIRONMENT
    script:
        script_of("caption")
