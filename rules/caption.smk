# One caption a picture, for the text and fused features.


localrules:
    fetch_captioner,


rule fetch_captioner:
    output:
        WEIGHTS.captioner("{captioner}"),
    log:
        RESULTS.log("fetch_captioner/{captioner}"),
    conda:
        ENVIRONMENT
    params:
        captioner=lambda wildcards: {
            key: value
            for key, value in known("captioners", wildcards.captioner).items()
            if key in ("model", "revision")
        },
        code=lambda wildcards: code("fetch_captioner", chosen=[kind_of(wildcards).door("fetch")]),
    message:
        f"Bringing the model of the captioner '{{wildcards.captioner}}' into {WEIGHTS}/captioners."
    script:
        script_of("fetch_captioner")


rule caption:
    input:
        images=rules.prepare.output.images,
        file=caption_file,
        model=caption_model,
    output:
        RESULTS.captions("{captioner}"),
    log:
        RESULTS.log("caption/{captioner}"),
    benchmark:
        RESULTS.benchmark("caption/{captioner}")
    conda:
        ENVIRONMENT
    threads: config["embed"]["threads"]
    resources:
        **gpus(lambda wildcards: int(writes_captions(wildcards))),
        mem_mb=lambda wildcards, attempt, rulename: (
            tries(attempt, rulename, wildcards) * (16000 if writes_captions(wildcards) else 2000)
        ),
        runtime=minutes(60, per_mb=200, of="images"),
    params:
        root=ROOT,
        # Which state of a model is used stands in its captioner.json.
        captioner=lambda wildcards: ordered(
            {
                key: value
                for key, value in known("captioners", wildcards.captioner).items()
                if key not in ("revision", "licence")
            }
        ),
        cache=RESULTS.cache("captions", "{captioner}"),
        code=lambda wildcards: code("caption", chosen=[kind_of(wildcards).door("captions")]),
        rows=lambda wildcards: code_of_captions(kind_of(wildcards).name),
    message:
        "Captioning with '{wildcards.captioner}'."
    script:
        script_of("caption")
