# From a folder of pictures to tables: what is there, what can be used, the splits, and a reduced copy for training.

from cladeclip.datasets.layouts.specs import layout_named, metadata_files

# Pictures that a rule brings (by download or by drawing) leave this marker beside them; your own folder is never written to.
SOURCE_MARKER = {
    "fetch": [f"{ROOT}/.fetched.json"],
    "draw": [f"{ROOT}/.drawn.json"],
    "addresses": [RESULTS.table("fetched")],
    "folder": [],
}[DATASET["source"]]
# Archives and tables that no listing has in time: they lie elsewhere, or say what is to be fetched.
METADATA = metadata_files(DATASET)


NEAR_DUPLICATES = config["folds"]["near_duplicates"] or {}


localrules:
    fetch_vlm4bio,
    fetch_pictures,
    listing,


rule fetch_vlm4bio:
    output:
        f"{ROOT}/.fetched.json",
    log:
        RESULTS.log("fetch_vlm4bio"),
    # Before the weights: what its user has to bring by hand is said at once.
    priority: 1
    conda:
        ENVIRONMENT
    resources:
        runtime=minutes(720),
    params:
        fetch=ordered(DATASET.get("fetch")),
    message:
        "Fetching the pictures of VLM4Bio (about 20 GB); those that already lie there are kept."
    script:
        script_of("fetch_vlm4bio")


rule fetch_pictures:
    input:
        METADATA,
    output:
        table=RESULTS.table("fetched"),
        failed=RESULTS.file("not_fetched.csv"),
    log:
        RESULTS.log("fetch_pictures"),
    # Before the weights: what its user has to bring by hand is said at once.
    priority: 1
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        runtime=minutes(2880),
    params:
        root=ROOT,
        dataset=deciding(Dataset, DATASET),
        addresses=deciding(Addresses, DATASET.get("addresses", {})),
    message:
        "Fetching the pictures whose addresses the metadata has; those that already lie there are kept."
    script:
        script_of("fetch_pictures")


rule draw_specimens:
    output:
        marker=f"{ROOT}/.drawn.json",
        # What was drawn, in words: for a captioner of kind `file`.
        captions=f"{ROOT}/captions.csv",
    log:
        RESULTS.log("draw_specimens"),
    benchmark:
        RESULTS.benchmark("draw_specimens")
    conda:
        ENVIRONMENT
    threads: 2
    params:
        draw=ordered({**DATASET.get("draw", {}), "seed": SEEDS["drawings"]}),
        code=code("draw_specimens"),
    message:
        "Drawing the demo's specimens."
    script:
        script_of("draw_specimens")


rule listing:
    input:
        SOURCE_MARKER,
    output:
        RESULTS.table("listing"),
    log:
        RESULTS.log("listing"),
    conda:
        ENVIRONMENT
    params:
        root=lambda wildcards: ROOT,
    message:
        "Listing the files below {params.root}."
    script:
        script_of("listing")


rule prepare:
    input:
        listing=rules.listing.output[0],
        synonyms=DATASET["synonyms"] or [],
        decisions=DATASET["decisions"] or [],
        metadata=METADATA,
        fetched=SOURCE_MARKER if DATASET["source"] == "addresses" else [],
    output:
        images=RESULTS.table("images"),
        quarantine=RESULTS.table("quarantine"),
        names=RESULTS.table("names"),
    log:
        RESULTS.log("prepare"),
    benchmark:
        RESULTS.benchmark("prepare")
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=memory(4000, per_input=10),
        runtime=minutes(30, per_mb=10),
    params:
        root=ROOT,
        dataset=deciding(Dataset, DATASET),
        synonyms=DATASET["synonyms"],
        decisions=DATASET["decisions"],
        code=code("prepare", chosen=[layout_named(DATASET["layout"]).door("read")]),
    message:
        "Checking every picture below {params.root}."
    script:
        script_of("prepare")


rule near_duplicates:
    input:
        embeddings=lambda wildcards: RESULTS.features(NEAR_DUPLICATES["encoder"], "image"),
    output:
        RESULTS.table("near_duplicates"),
    log:
        RESULTS.log("near_duplicates"),
    benchmark:
        RESULTS.benchmark("near_duplicates")
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=memory(3000, per_input=4),
        runtime=minutes(30, per_mb=0.2),
    params:
        settings=ordered(NEAR_DUPLICATES),
        code=code("near_duplicates"),
    message:
        "Looking for pictures that are nearly the same."
    script:
        script_of("near_duplicates")


rule split:
    input:
        images=rules.prepare.output.images,
        near_duplicates=rules.near_duplicates.output[0] if NEAR_DUPLICATES else [],
    output:
        report(RESULTS.split("{split}"), category="Data"),
    log:
        RESULTS.log("split/{split}"),
    benchmark:
        RESULTS.benchmark("split/{split}")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(2000, per_input=10),
        runtime=minutes(10),
    params:
        settings={**deciding(Folds, config["folds"]), "seed": SEEDS["folds"]},
        code=code("split"),
    message:
        "Splitting the images: {wildcards.split}."
    script:
        script_of("split")


rule store:
    input:
        images=rules.prepare.output.images,
    output:
        RESULTS.store("{side}"),
    log:
        RESULTS.log("store/{side}"),
    benchmark:
        RESULTS.benchmark("store/{side}")
    wildcard_constraints:
        side=r"\d+",
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30, per_mb=10),
    params:
        root=ROOT,
        code=code("store"),
    message:
        "Reducing the pictures to a shorter side of {wildcards.side} px for training."
    script:
        script_of("store")
