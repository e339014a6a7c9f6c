# Embeddings of pictures and captions, by one rule for teachers, baselines and trained students.
EMBED = config["embed"]
EMBEDDINGS = f"{RESULTS}/{{place}}embeddings/{{encoder}}/image.parquet"
# With several shards, each is a job that writes a part, and the parts are joined.
SHARDED = f"{RESULTS}/{{place}}shards/{{encoder}}/{{shard}}.parquet"


localrules:
    fetch,
    fetch_weights,
    fuse,
    join_shards,


rule fetch:
    input:
        SOURCE_MARKER,
        encoder_records(),
        [f"{WEIGHTS}/captioners/{captioner}/captioner.json" for captioner in plan.models_that_caption(config)],
    message:
        "Everything that has to be downloaded is there: the rest needs no internet."


rule fetch_weights:
    input:
        weight_file_of,
    output:
        f"{WEIGHTS}/{{encoder}}/encoder.json",
    log:
        f"{LOGS}/fetch_weights/{{encoder}}.log",
    conda:
        ENVIRONMENT
    params:
        # Title and licence are for people: another one makes no weights stale.
        definition=lambda wildcards: ordered(
            {k: v for k, v in encoder_named(wildcards.encoder).items() if k not in ("title", "licence")}
        ),
        code=lambda wildcards: code("fetch_weights", wildcards.encoder),
    message:
        f"Bringing the weights of '{{wildcards.encoder}}' into {WEIGHTS}/{{wildcards.encoder}}."
    script:
        script_of("fetch_weights")


rule embed:
    input:
        images=rules.prepare.output.images,
        encoder=encoder_file,
    output:
        EMBEDDINGS if EMBED["shards"] == 1 else temp(SHARDED),
    log:
        f"{LOGS}/embed/{{place}}{{encoder}}{SHARD}.log",
    benchmark:
        f"{BENCHMARKS}/embed/{{place}}{{encoder}}{SHARD}.tsv"
    wildcard_constraints:
        place=rf"(({SPLIT})/)?",
        encoder=rf"{NAME}(\.{NAME}\.seed\d+)?",
        shard=r"\d+-of-\d+",
    conda:
        ENVIRONMENT
    threads: EMBED["threads"]
    resources:
        **gpus(needs_gpu),
        mem_mb=memory(3000, per_weights=3),
        runtime=minutes(60, per_mb=4 / EMBED["shards"], of="images"),
    params:
        root=ROOT,
        cache=lambda wildcards: f"{RESULTS}/cache/images/{wildcards.place}{wildcards.encoder}",
        batch_size=EMBED["batch_size"],
        decode=EMBED["decode"],
        precision=EMBED["precision"],
        code=lambda wildcards: code("embed", wildcards.encoder),
        rows=lambda wildcards: code_of_rows("images", families([wildcards.encoder])),
    message:
        "Embedding the pictures with {wildcards.place}{wildcards.encoder}."
    script:
        script_of("embed")


rule join_shards:
    input:
        expand(SHARDED, shard=shard_names(EMBED["shards"]), allow_missing=True),
    output:
        EMBEDDINGS if EMBED["shards"] > 1 else [],
    log:
        f"{LOGS}/join_shards/{{place}}{{encoder}}.log",
    benchmark:
        f"{BENCHMARKS}/join_shards/{{place}}{{encoder}}.tsv"
    wildcard_constraints:
        place=rf"(({SPLIT})/)?",
        encoder=rf"{NAME}(\.{NAME}\.seed\d+)?",
    conda:
        ENVIRONMENT
    params:
        code=code("join_shards"),
    message:
        "Joining the shards of {wildcards.place}{wildcards.encoder}."
    script:
        script_of("join_shards")


rule embed_text:
    input:
        captions=rules.caption.output[0],
        encoder=rules.fetch_weights.output[0],
    output:
        f"{RESULTS}/embeddings/{{encoder}}/text-{{captioner}}.parquet",
    log:
        f"{LOGS}/embed_text/{{encoder}}-{{captioner}}.log",
    benchmark:
        f"{BENCHMARKS}/embed_text/{{encoder}}-{{captioner}}.tsv"
    conda:
        ENVIRONMENT
    threads: EMBED["threads"]
    resources:
        **gpus(1),
        mem_mb=memory(3000, per_weights=3),
        runtime=minutes(30, per_mb=4, of="captions"),
    params:
        cache=f"{RESULTS}/cache/texts/{{encoder}}/{{captioner}}",
        batch_size=EMBED["text_batch_size"],
        precision=EMBED["precision"],
        code=lambda wildcards: code("embed_text", wildcards.encoder),
        rows=lambda wildcards: code_of_rows("texts", families([wildcards.encoder])),
    message:
        "Embedding the captions of '{wildcards.captioner}' with {wildcards.encoder}."
    script:
        script_of("embed_text")


rule fuse:
    input:
        image=f"{RESULTS}/embeddings/{{encoder}}/image.parquet",
        text=rules.embed_text.output[0],
    output:
        f"{RESULTS}/embeddings/{{encoder}}/fused-{{captioner}}.parquet",
    log:
        f"{LOGS}/fuse/{{encoder}}-{{captioner}}.log",
    benchmark:
        f"{BENCHMARKS}/fuse/{{encoder}}-{{captioner}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(4000),
        runtime=minutes(10),
    params:
        code=code("fuse"),
    message:
        "Fusing image and text embeddings of {wildcards.encoder} ('{wildcards.captioner}')."
    script:
        script_of("fuse")
