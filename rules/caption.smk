# One caption a picture, for the text and fused features.


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
    conda:
        ENVIRONMENT
    threads: config["embed"]["threads"]
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=lambda wildcards: int(captioner_of(wildcards)["kind"] == "internvl"),
    params:
        root=ROOT,
        captioner=lambda wildcards: ordered(captioner_of(wildcards)),
        code=code("caption"),
    message:
        "Captioning with '{wildcards.captioner}'."
    script:
        script_of("caption")
