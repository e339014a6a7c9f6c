# Class labels for the students: clusters of a teacher's embeddings, or controls.
CLUSTERS = str(ClusterLabels("{teacher}", "{features}", "{k}"))
SEVERAL = str(NearestLabels("{teacher}", "{features}", "{k}", "{top}"))
# The longest name first: 'vit-h' must not claim the labels of 'vit-h-14'.
TEACHER = "|".join(sorted(ENCODERS, key=len, reverse=True))


rule cluster:
    input:
        embeddings=RESULTS.features("{teacher}", "{features}"),
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        labels=RESULTS.labels("{split}", CLUSTERS),
        centroids=RESULTS.labels("{split}", CLUSTERS, "centroids.parquet"),
        quality=RESULTS.labels("{split}", CLUSTERS, "quality.json"),
    log:
        RESULTS.log(f"cluster/{{split}}/{CLUSTERS}"),
    benchmark:
        RESULTS.benchmark(f"cluster/{{split}}/{CLUSTERS}")
    wildcard_constraints:
        teacher=TEACHER,
        k=r"\d+",
    conda:
        ENVIRONMENT
    threads: config["cluster"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=4, of="embeddings"),
        runtime=minutes(30, per_mb=0.5),
    params:
        **deciding(Cluster, config["cluster"]),
        seed=SEEDS["clusters"],
        code=code("cluster"),
    message:
        "Clustering {wildcards.teacher}'s {wildcards.features} embeddings into {wildcards.k} ({wildcards.split})."
    script:
        script_of("cluster")


rule nearest_clusters:
    input:
        embeddings=RESULTS.features("{teacher}", "{features}"),
        labels=rules.cluster.output.labels,
        centroids=rules.cluster.output.centroids,
    output:
        RESULTS.labels("{split}", SEVERAL),
    log:
        RESULTS.log(f"nearest_clusters/{{split}}/{SEVERAL}"),
    benchmark:
        RESULTS.benchmark(f"nearest_clusters/{{split}}/{SEVERAL}")
    wildcard_constraints:
        teacher=TEACHER,
        k=r"\d+",
        top=r"\d+",
    conda:
        ENVIRONMENT
    threads: config["cluster"]["threads"]
    resources:
        mem_mb=memory(3000, per_input=4, of="embeddings"),
        runtime=minutes(30),
    params:
        code=code("nearest_clusters"),
    message:
        "The {wildcards.top} nearest of {wildcards.k} clusters of {wildcards.teacher} ({wildcards.split})."
    script:
        script_of("nearest_clusters")


rule control:
    input:
        images=rules.prepare.output.images,
        split=rules.split.output[0],
    output:
        labels=RESULTS.labels("{split}", "{control}"),
        quality=RESULTS.labels("{split}", "{control}", "quality.json"),
    log:
        RESULTS.log("control/{split}/{control}"),
    benchmark:
        RESULTS.benchmark("control/{split}/{control}")
    wildcard_constraints:
        control=r"species|genus|random-k\d+",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(2000),
        runtime=minutes(10),
    params:
        seed=SEEDS["clusters"],
        code=code("control"),
    message:
        "Control labels: {wildcards.control} ({wildcards.split})."
    script:
        script_of("control")
