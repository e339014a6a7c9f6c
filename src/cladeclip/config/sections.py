"""The sections of the config. `config/config.yaml` and docs/config.md are written from here by `docs/reference.py`."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cladeclip.captioning.specs import KINDS
from cladeclip.config.described import choices, key, limits
from cladeclip.config.values import (
    ONCE,
    SOME,
    Commit,
    Control,
    Count,
    FeaturesName,
    Freeze,
    GpuModel,
    K,
    Licence,
    Name,
    NotNegative,
    Positive,
    Repository,
    Revision,
    Seed,
    Sha256,
    Share,
    Size,
    SplitName,
    Text,
    Workers,
)
from cladeclip.datasets.layouts.specs import LAYOUTS
from cladeclip.datasets.licences import LICENCES
from cladeclip.encoders.specs import FAMILIES
from cladeclip.training.specs import LOSSES


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """What is downloaded."""

    repository: Repository = key("dataset repository on the Hugging Face hub", "imageomics/VLM4Bio")
    revision: Commit = key("commit of that repository", "e5120ba2f20b5daf0783b27dfd2638f5185a61bc")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The demo's specimens."""

    species_per_genus: Annotated[int, limits(minimum=1, maximum=8)] = key("three categories of three genera each", 3)
    images_per_species: Count = key("pictures drawn of each species", 30)
    image_px: Annotated[int, limits(minimum=32, maximum=1024)] = key("side of a drawn picture", 96)


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """How pictures are fetched from the addresses that the metadata has, and how many."""

    contact: str = key(
        "an e-mail address or page where the keepers of the hosts reach you; sent with every request", "", running=True
    )
    connections: Annotated[int, limits(minimum=1, maximum=32)] = key("to one host at once", 4, running=True)
    per_second: Positive = key("requests to one host", 10.0, running=True)
    seconds: Positive = key("for one answer", 60.0, running=True)
    retries: Annotated[int, limits(minimum=0, maximum=20)] = key(
        "after an answer that may be another later", 4, running=True
    )
    largest_mb: Positive = key("a larger picture is not fetched", 50.0)
    total_gb: Positive = key("no more is fetched than this, in all", 100.0)
    max_missing: Annotated[float, limits(minimum=0, maximum=1)] = key(
        "stop when a larger share of the pictures could not be fetched", 0.5
    )
    private_hosts: bool = key("whether hosts of a private network may be asked: a museum's own server, say", False)


# Where pictures come from, and the section that says more of it.
SOURCES: dict[str, type | None] = {"fetch": Fetch, "draw": Draw, "folder": None, "addresses": Addresses}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The images."""

    name: Name = key("results go to results/{name}", "vlm4bio", apart=True)
    root: Text = key(
        "folder that holds the categories, each with images/ and metadata/", "data/vlm4bio/datasets", apart=True
    )
    source: Literal["fetch", "draw", "folder", "addresses"] = key(
        "fetch: download VLM4Bio; draw: draw the demo's specimens; folder: pictures of your own; addresses: fetch those of "
        "an archive or table",
        "fetch",
        apart=True,
    )
    fetch: Fetch = key("with source: fetch", apart=True, left_out=True)
    draw: Draw = key("with source: draw", apart=True, left_out=True)
    addresses: Addresses = key("with source: addresses", apart=True, left_out=True)
    layout: str = key(choices({name: layout.words for name, layout in LAYOUTS.items()}), "vlm4bio")
    max_rejected: Annotated[float, limits(minimum=0, maximum=1)] = key(
        "stop when a larger share of the listed pictures cannot be used", 0.05
    )
    unnamed: Literal["reject", "keep"] = key(
        "pictures without a species. reject: into the quarantine; keep: embedded, mapped and named, never fitted",
        "reject",
    )
    licences: Annotated[list[Licence], ONCE] = key(
        f"use only pictures of these, [cc0, cc-by] say; [] uses all. Known are {', '.join(LICENCES)}", []
    )
    decisions: str = key(
        'a table of a curator\'s decisions on single pictures: image_id, decision, name; "" for none', "", apart=True
    )
    synonyms: str = key(
        'a table with two columns, a name and the accepted name in its place; "" for none', "", apart=True
    )


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Every encoder that a path can name."""

    family: str = key(choices({name: family.words for name, family in FAMILIES.items()}))
    title: str = key("its name in the report", left_out=True)
    licence: str = key("of its weights, which a student trained from it inherits", left_out=True)
    architecture: str | dict[str, Any] = key(
        "a name of open_clip or timm; hf-hub:OWNER/REPOSITORY; local-dir:FOLDER; python-package:MODULE/FOLDER; or "
        "open_clip's model_cfg itself (transformers: hf-hub or local-dir, say hf-hub:florence-community/Florence-2-base)",
        left_out=True,
    )
    pretrained: str = key("its weights are those of a tag of open_clip or timm (downloaded)", left_out=True)
    weights: str = key(
        "or those of a file, or python-package:MODULE/FILE (beside open_clip's `pretrained`: that tag's file, fetched by "
        "hand)",
        left_out=True,
    )
    seed: Seed = key("or random ones", left_out=True)
    revision: Revision = key(
        "branch, tag or commit of the repository on the hub that they come from (main); encoder.json says which commit it "
        "was",
        left_out=True,
    )
    sha256: Sha256 = key("of the weight file, which is then checked", left_out=True)
    match: Literal["name", "position"] = key(
        "position, for a weight file that holds timm's tensors in timm's order under other names", left_out=True
    )
    image_px: Size = key("side of the square that the encoder sees; its own where not given", left_out=True)
    mean: Annotated[list[float], limits(minItems=3, maxItems=3)] = key(
        "its normalisation; its own where not given", left_out=True
    )
    std: Annotated[list[Positive], limits(minItems=3, maxItems=3)] = key("the same", left_out=True)


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """What writes a caption for every image."""

    kind: str = key(choices({name: kind.words for name, kind in KINDS.items()}))


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the students learn: the clusters of every teacher x features x k, and controls."""

    teachers: Annotated[list[Name], ONCE] = key("names of encoders", ["vit-h"])
    features: Annotated[list[FeaturesName], ONCE] = key("image, text-CAPTIONER or fused-CAPTIONER", ["fused-internvl"])
    k: Annotated[list[K], ONCE] = key("numbers of clusters", [100, 500, 1000, 2000])
    also: Annotated[list[Text], ONCE] = key(
        "single ones beside those: TEACHER-FEATURES-kNUMBER, other features at one k, say; -k100-500-2000, all of these at "
        "once; -k2000-top10, the 10 nearest clusters of each image; distil-TEACHER-FEATURES, distillation",
        [],
    )
    controls: Annotated[list[Control], ONCE] = key(
        "species, genus (labels that clusters can hardly beat); random-kNUMBER, or shuffled- before any labels of a teacher "
        "(labels without meaning)",
        [],
    )
    only: dict[SplitName, Annotated[list[Text], ONCE]] = key(
        "SPLIT: [names of labels], where a split is to train on some of them alone", {}
    )


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Which pictures are taken for one."""

    encoder: Name = key("that finds them")
    cosine: Annotated[float, limits(exclusiveMinimum=0, maximum=1)] = key("from which two pictures are taken for one")


@dataclass(frozen=True, kw_only=True)
class Folds:
    """How the splits holdout-N and open-N are drawn."""

    test_share: Share = key("share of each species' pictures that a holdout or open fold keeps for testing", 0.2)
    validate_share: Annotated[float, limits(minimum=0, exclusiveMaximum=1)] = key(
        "share of the other pictures of each known species that is neither fitted nor tested on: train.interpolate is "
        "chosen by them",
        0.0,
    )
    unseen_share: Share = key("share of each category's species that an open fold holds out whole", 0.25)
    unseen_rank: Literal["species", "genus"] = key("species, or genus: whole genera are held out", "species")
    near_duplicates: NearDuplicates | None = key(
        "{encoder: NAME, cosine: 0.98}: pictures that this encoder finds so alike stay on one side of every split",
        None,
        apart=True,
    )


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """The seeds of all that is drawn at random. (An encoder of random weights has its own, under `encoders:`.)"""

    training: Annotated[list[Seed], ONCE + SOME] = key("a replica of each training per seed", [5])
    clusters: Seed = key("k-means, and random or shuffled controls", 5)
    folds: Seed = key("the splits holdout-N and open-N", 5)
    queries: Seed = key("the draw of queries where the split is `all`, and the heads of `hierarchy:`", 5)
    drawings: Seed = key("the demo's specimens", 5)


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Embeddings of images and captions."""

    batch_size: Count = key("images that a GPU encodes at once", 64)
    workers: Workers = key(
        "with a GPU: processes that decode pictures (auto: all cores that the job has, by its GPUs); without: threads that "
        "decode and encode (auto: threads)",
        "auto",
        running=True,
    )
    threads: Count = key("processor cores of an embedding job", 2, running=True)
    shards: Annotated[int, limits(minimum=1, maximum=1000)] = key(
        "parts in which the pictures are embedded, each a job of its own; 4 to 16 for a large set on a cluster",
        1,
        running=True,
    )
    precision: Literal["auto", "fp32"] = key("auto: fp16 autocast on CUDA, fp32 elsewhere; fp32: everywhere", "auto")
    decode: Literal["fast", "exact"] = key(
        "fast: JPEGs are decoded near the size needed; exact: at full size, then reduced", "fast"
    )
    text_batch_size: Count = key("captions encoded at once", 256)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Clusters, by k-means."""

    restarts: Count = key(
        "runs of k-means from seeds in a row: the first one counts, the others say how stable it is", 3
    )
    max_points: K = key("with more images, the centroids are those of a sample of this size", 1_000_000)
    max_iterations: Count = key("k-means stops at convergence, or here", 100)
    threads: Count = key("processor cores of a clustering job", 2, running=True)


@dataclass(frozen=True, kw_only=True)
class LrRange:
    """The range test."""

    lowest: Positive = key("learning rate of the first step", 1e-7)
    highest: Annotated[float, limits(exclusiveMinimum=0, maximum=100)] = key("of the last", 1.0)
    steps: K = key("optimiser steps of the test", 100)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Training of the students; names and values are those of the published configuration."""

    store_px: Size = key("training reads pictures reduced once to this shorter side", 288, apart=True)
    epochs: Annotated[int, limits(minimum=0)] = key(
        "times that every picture is seen; 0 leaves the encoder as it is", 32
    )
    batch_size: Count = key("images a step and GPU; an incomplete last batch is dropped", 128)
    gradient_acc: Count = key("batches whose gradients are averaged into one optimiser step", 1)
    lr: Annotated[float, limits(exclusiveMinimum=0, maximum=10)] = key("highest learning rate of the encoder", 1e-5)
    lr_pfc_weight: Positive = key("the class centres' learning rate is this many times the encoder's", 10)
    weight_decay: NotNegative = key("of AdamW, for encoder and centres", 0.0)
    pct_start: Share = key("share of the steps in which the learning rate rises", 0.1)
    loss: str = key(
        choices({name: " and ".join(loss.margins) or "no margin" for name, loss in LOSSES.items()}), "arcface"
    )
    margin_loss_s: Positive = key("scale of the logits", 32.0)
    margin_loss_m1: float = key("multiplicative angular margin; 1 is the only form", 1.0)
    margin_loss_m2: float = key("additive angular margin (ArcFace)", 0.3)
    margin_loss_m3: float = key("additive cosine margin (CosFace)", 0.0)
    margin_loss_filter: Annotated[float, limits(minimum=0, maximum=1)] = key(
        "non-target logits with a cosine above this are set to 0; 0 is off", 0.0
    )
    margin_gradient: Literal["straight_through", "exact"] = key(
        "straight_through: as in the published results; exact: through arccos", "straight_through"
    )
    positives: Count = key("of the clusters that an image has (-topNUMBER), how many a step draws", 8)
    distil_cosine: NotNegative = key("distillation: weight of 1 - cosine to the teacher's embedding", 1.0)
    distil_relations: NotNegative = key(
        "distillation: weight of the divergence from the teacher's neighbourhoods in the batch", 1.0
    )
    distil_temperature: Positive = key("distillation: temperature of these neighbourhoods", 0.1)
    head_epochs: Annotated[int, limits(minimum=0)] = key(
        "epochs before all others in which the class centres alone are trained", 0
    )
    interpolate: Annotated[list[Share], ONCE] = key(
        "shares of what training changed in the weights, [0.25, 0.5, 0.75] say: each a model more, without training; "
        "the report chooses among them by the part `validate` (folds.validate_share)",
        [],
        apart=True,
    )
    num_feat: Count = key("dimensions drawn for each step; the embedding's own number, or more, is all of them", 512)
    sample_rate: Annotated[float, limits(exclusiveMinimum=0, maximum=1)] = key(
        "share of the class centres used in a step (Partial FC)", 1.0
    )
    precision: Literal["auto", "tf32", "fp32"] = key(
        "auto: bf16 autocast of the encoder on CUDA, fp32 elsewhere; tf32: fp32 with TF32 on CUDA; fp32: everywhere",
        "auto",
    )
    compile: bool = key("torch.compile the encoder: minutes at the start, faster steps", False)
    augment: Literal["timm", "crop_flip", "none"] = key(
        "timm: random crop, flip, RandAugment, erasing; crop_flip: random crop and flip alone; none: the encoder's own "
        "transform",
        "timm",
    )
    batchnorm: Literal["frozen", "live"] = key(
        "frozen: running statistics stay as they were pretrained; live: updated (training from scratch)", "frozen"
    )
    freeze: Freeze = key(
        "none: all of the encoder is trained; stem: all but its first layers; all_but_last_N: its last N blocks alone",
        "none",
    )
    ema: Annotated[float, limits(minimum=0, exclusiveMaximum=1)] = key(
        "the checkpoint holds the moving average of the weights with this decay (0.999, say); 0: the last weights", 0.0
    )
    workers: Workers = key(
        "processes that read and augment pictures, for each GPU; auto: all cores that the job has, by its GPUs; without a "
        "GPU as many as threads",
        "auto",
        running=True,
    )
    threads: Count = key("processor cores of a training job", 2, running=True)
    gpus: Annotated[int, limits(minimum=0, maximum=64)] = key(
        "GPUs of a training job; with several, each takes a batch and a part of the class centres", 1, running=True
    )
    checkpoint_minutes: Positive = key(
        "between two saves of the training's state, from which a training that was cut off goes on", 10, running=True
    )
    log_every: Count = key("steps between the rows of training.csv", 20)
    lr_range: LrRange = key(
        "results/{dataset}/lr_range/{split}/{student}.{labels}.seed{seed}.svg: the loss while the learning rate rises",
        LrRange(),
        running=True,
    )


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The linear probe."""

    c: NotNegative = key("inverse of its regularisation; 0 leaves the probe out", 1.0)
    max_iterations: Count = key("of its solver", 1000)


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Which names the encoders give."""

    query_share: Share = key("share of the pictures drawn as queries where the split is `all`", 0.2)
    repeats: Count = key(
        "draws of queries from seeds in a row: the first one counts, the others say how much the draw matters", 5
    )
    zero_shot: bool = key(
        "name the queries by the names themselves, with every encoder that has a text tower", True, apart=True
    )
    probe: Probe = key("linear probe, a logistic regression on the gallery's embeddings, for every model")
    genus_only_names: Literal["keep", "leave_out"] = key(
        "keep: a name that is a genus alone is a species label; leave_out: not scored by species", "keep"
    )
    threads: Count = key(
        "processor cores of a job that evaluates; with hundreds of pictures, 1 leaves more jobs side by side",
        2,
        running=True,
    )


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """results/{dataset}/{split}/evaluation/{model}/hierarchy.parquet: names at several ranks, and species that are new. The
    report shows it for open splits; for others it is made when it is asked for."""

    ranks: (
        Literal["auto"]
        | Annotated[
            list[Literal["species", "genus", "family", "order", "class", "phylum", "kingdom", "category"]],
            ONCE + SOME,
        ]
    ) = key(
        "auto: all that every picture has a name at; or a list, of species, genus, family, order, class, category and "
        "others",
        "auto",
    )
    dependence: NotNegative = key("weight of the term that makes the ranks' heads agree; 0: each head for itself", 1.0)
    hidden: Annotated[int, limits(minimum=0)] = key("width of a hidden layer that the heads share; 0: none", 0)
    steps: Count = key("updates of the heads, each from 256 pictures", 500)
    score: Literal["max_softmax", "max_logit", "energy", "centroid", "mahalanobis", "neighbour"] = key(
        "the novelty score that decides: max_softmax, max_logit, energy, centroid, mahalanobis or neighbour",
        "mahalanobis",
    )
    neighbour: Count = key("k of the k-th neighbour's distance", 5)
    quantile: Share = key("share of a name's own pictures that must not look new", 0.95)
    min_images: Count = key("a name with fewer pictures borrows the limit of the name above it", 5)


@dataclass(frozen=True, kw_only=True)
class Identify:
    """Names for new images, when they are asked for."""

    images: str = key(
        "folder of new pictures for results/{dataset}/{split}/identify/{model}.parquet (and .csv, for a spreadsheet, and "
        ".dwca.zip, a Darwin Core archive)",
        "",
    )
    checklist: str = key('a table of the only names allowed, a region\'s species list say; "" allows all', "")
    licence: str = key('address of the licence of these names, for the archive; "" leaves it to others', "")


@dataclass(frozen=True, kw_only=True)
class Curate:
    """What a curator looks at, when it is asked for: results/{dataset}/{split}/curate/{model}/curate.html."""

    suspects: Share = key("share of the named pictures that are listed, those whose names are the most doubtful", 0.1)
    outliers: Share = key("share of them that are listed, those that fit their names the least", 0.05)
    cosine: Annotated[float, limits(minimum=-1, maximum=1)] = key(
        "pictures are compared for being the same whose embeddings have this cosine or more", 0.7
    )
    correlation: Annotated[float, limits(exclusiveMinimum=0, maximum=1)] = key(
        "and are the same from this correlation of their details on", 0.93
    )
    max_mb: Positive = key("size of curate.html; where it would be larger, pictures are left out", 60, apart=True)


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The planned comparison."""

    k: K = key("number of clusters, of labels.k", 500)
    column: Literal["species", "genus", "taxa"] = key("whose names are asked for", "species")
    taxa: Text = key("All, or a category", "All")
    measure: Literal["accuracy_individual", "accuracy_avg", "distance_individual", "distance_avg"] = key(
        "see docs/columns.md", "accuracy_individual"
    )
    split: SplitName = key("of splits", "holdout-0")


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report, and the comparison that decides."""

    import_: Annotated[list[Text], ONCE] = key(
        "tables of results from elsewhere to put beside: CSV with model, taxa, column and the four accuracies in percent",
        [],
    )
    title: Text = key("headline of the report", "Which number of clusters tells species apart?")
    also: Annotated[list[Text], ONCE] = key(
        "results folders of other finished runs to put beside this one, such as results/last-week", []
    )
    margin: Annotated[float, limits(minimum=0, maximum=1)] = key(
        "a student is not worse than untrained if it loses less than this share of the answers", 0.01
    )
    map_points: Count = key("pictures on the map of the embeddings; of more, this many are drawn at random", 10000)
    max_mb: Positive = key("size of report.html; where it would be larger, pictures are left out", 15)
    primary: Primary = key("the one comparison that decides which model is best, chosen before any result was seen")


@dataclass(frozen=True, kw_only=True)
class Config:
    """All sections, in the order of `config/config.yaml`."""

    dataset: Dataset = key("")
    encoders: Annotated[dict[Name, Encoder], limits(minProperties=1)] = key("")
    captioners: dict[Name, Captioner] = key("", {})
    labels: Labels = key("")
    splits: Annotated[list[SplitName], ONCE + SOME] = key(
        "all: fitted and tested on everything; holdout-N: tested on pictures, open-N: on species never fitted",
        ["all", "holdout-0"],
    )
    folds: Folds = key("")
    students: Annotated[list[Name], ONCE] = key("encoders that are trained", ["vit-b-32"])
    baselines: Annotated[list[Name], ONCE] = key(
        "encoders evaluated as they are",
        ["vit-b-32", "vit-h", "openclip-b-32", "bioclip", "bioclip-2", "handmade"],
    )
    seeds: Seeds = key("")
    embed: Embed = key("")
    cluster: Cluster = key("")
    train: Train = key("")
    eval: Eval = key("")
    hierarchy: Hierarchy = key("")
    identify: Identify = key("", running=True)
    curate: Curate = key("", running=True)
    report: Report = key("")
    gpu_model: GpuModel = key(
        'on a cluster whose partitions have several types of GPU: the one to ask for, as in `sinfo -o %G`; "" for any',
        "",
        running=True,
    )
    weights: Text = key("folder for the encoders' weights, shared by all datasets", "weights")
