# Embeddings of pictures and captions, by one rule for teachers, baselines and trained students.
from cladeclip.shards import shard_names

EMBED = config["embed"]
EMBEDDINGS = RESULTS.features("{encoder}", "image", "{place}")
# With several shards, each is a job that writes a part, and the parts are joined.
SHARDED = RESULTS.shard("{encoder}", "{shard}", "{place}")
SHARD = ".{shard}" if EMBED["shards"] > 1 else ""


localrules:
    fetch,
    fetch_weights,
    fuse,
    join_shards,


rule fetch:
    input:
        SOURCE_MARKER,
        FILES.encoder_records(),
        FILES.captioner_records(),
    message:
        "Everything that has to be downloaded is there: the rest needs no internet."


rule fetch_weights:
    input:
        weight_file_of,
    output:
        WEIGHTS.encoder("{encoder}"),
    log:
        RESULTS.log("fetch_weights/{encoder}"),
    conda:
        ENVIRONMENT
    params:
        # Title and licence are for people: another one makes no weights stale.
        definition=lambda wildcards: ordered(
            {k: v for k, v in known("encoders", wildcards.encoder).items() if k not in ("title", "licence")}
        ),
        code=lambda wildcards: code("fetch_weights", wildcards.encoder),
    message:
        f"Bringing the weights of '{{wildcards.encoder}}' into {WEIGHTS}/{{wildcards.encoder}}."
    script:
        script_of("fetch_weights")


rule embed:
    input:
        images=rules.prepare.output.images,
        encoder=lambda wildcards: FILES.weights_of(wildcards.encoder, wildcards.place.rstrip("/")),
    output:
        EMBEDDINGS if EMBED["shards"] == 1 else temp(SHARDED),
    log:
        RESULTS.log(f"embed/{{place}}{{encoder}}{SHARD}"),
    benchmark:
        RESULTS.benchmark(f"embed/{{place}}{{encoder}}{SHARD}")
    wildcard_constraints:
        place=rf"(({SPLIT})/)?",
        encoder=MODEL,
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
        cache=lambda wildcards: RESULTS.cache("images", f"{wildcards.place}{wildcards.encoder}"),
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
        RESULTS.log("join_shards/{place}{encoder}"),
    benchmark:
        RESULTS.benchmark("join_shards/{place}{encoder}")
    wildcard_constraints:
        place=rf"(({SPLIT})/)?",
        encoder=MODEL,
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
        RESULTS.features("{encoder}", "text-{captioner}"),
    log:
        RESULTS.log("embed_text/{encoder}-{captioner}"),
    benchmark:
        RESULTS.benchmark("embed_text/{encoder}-{captioner}")
    conda:
        ENVIRONMENT
    threads: EMBED["threads"]
    resources:
        **gpus(1),
        mem_mb=memory(3000, per_weights=3),
        runtime=minutes(30, per_mb=4, of="captions"),
    params:
        cache=RESULTS.cache("texts", "{encoder}/{captioner}"),
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
        image=RESULTS.features("{encoder}", "image"),
        text=rules.embed_text.output[0],
    output:
        RESULTS.features("{encoder}", "fused-{captioner}"),
    log:
        RESULTS.log("fuse/{encoder}-{captioner}"),
    benchmark:
        RESULTS.benchmark("fuse/{encoder}-{captioner}")
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
