"""The contracts between stages: every table that one stage writes and another reads, declared once.

Tables are Parquet (zstd), sorted by their key, and written whole or not at all. Reading checks the declared columns and
says which file and column is wrong. Columns beyond the declared ones are allowed (`images` carries whatever rank columns
the data has).
"""

import pyarrow as pa

from cladeclip.evaluation.measures import MEASURES, RETRIEVED
from cladeclip.io.parquet import FLOAT, INT, STRING, Contract

LISTING = Contract(
    "listing",
    "a file of the dataset's folder",
    {"path": STRING, "size": INT, "content_hash": STRING},
    ("path",),
)
IMAGES = Contract(
    "images",
    "an accepted image",
    {
        "image_id": STRING,
        "content_hash": STRING,
        "category": STRING,
        "scientific_name": STRING,
        "genus": STRING,
        "width": INT,
        "height": INT,
        "pixel_group": STRING,
        "content_group": STRING,
    },
    ("image_id",),
)
FETCHED = Contract(
    "fetched",
    "an address that was asked for: what came of it, or the reason why nothing did",
    {
        "image_id": STRING,
        "address": STRING,
        "sha256": STRING,
        "size": INT,
        "reason": STRING,
        "other_bytes": pa.bool_(),
    },
    ("image_id",),
)
QUARANTINE = Contract(
    "quarantine", "a rejected image", {"image_id": STRING, "reason": STRING, "detail": STRING}, ("image_id",)
)
NAMES = Contract(
    "names",
    "a name as written, and what the data says of its rank",
    {
        "name_as_written": STRING,
        "rank": STRING,
        "accepted": STRING,
        "label": STRING,
        "genus": STRING,
        "kind": STRING,
        "n": INT,
    },
    ("name_as_written", "rank"),
)
SPLIT = Contract(
    "split",
    "an image",
    {"image_id": STRING, "part": STRING, "part_alone": STRING, "group": STRING},
    ("image_id",),
)
NEAR_DUPLICATES = Contract(
    "near_duplicates",
    "two images that an encoder finds nearly the same",
    {"image_id": STRING, "other_image_id": STRING, "cosine": pa.float32()},
    ("image_id", "other_image_id"),
)
CAPTIONS = Contract(
    "captions", "an image", {"image_id": STRING, "caption": STRING, "caption_hash": STRING}, ("image_id",)
)
CLUSTERS = Contract(
    "clusters", "a fit image", {"image_id": STRING, "label": INT, "distance": pa.float32()}, ("image_id",)
)
NEAREST_CLUSTERS = Contract(
    "nearest_clusters",
    "a fit image and one of the clusters nearest to it, its own first",
    {"image_id": STRING, "place": INT, "label": INT, "distance": pa.float32()},
    ("image_id", "place"),
)
# Uncertainty of each measure: bootstrap over queries, spread over query draws; and its mean over labels.
OF_EACH_MEASURE = ("low", "high", "sd_splits", "macro")
ACCURACY = Contract(
    "accuracy",
    "a subset of taxa and a rank",
    {
        "taxa": STRING,
        "column": STRING,
        **dict.fromkeys(MEASURES, FLOAT),
        "n_query": INT,
        "n_gallery": INT,
        "n_labels": INT,
        "n_query_without_gallery": INT,
        **{f"{measure}_{kind}": FLOAT for kind in OF_EACH_MEASURE for measure in MEASURES},
    },
    ("taxa", "column"),
)
KNN = Contract(
    "knn",
    "a subset of taxa, a rank, a number of neighbours and a way to count their votes",
    {"taxa": STRING, "column": STRING, "k": INT, "weighting": STRING, "micro": FLOAT, "macro": FLOAT},
    ("taxa", "column", "k", "weighting"),
)
RETRIEVAL = Contract(
    "retrieval",
    "a subset of taxa at a rank",
    {
        "taxa": STRING,
        "column": STRING,
        **{f"{name}{kind}": FLOAT for kind in ("", "_macro") for name in RETRIEVED},
        "n_queries": INT,
        "n_without_match": INT,
    },
    ("taxa", "column"),
)
CLASSES = Contract(
    "classes",
    "a species or genus that was asked for",
    {
        "column": STRING,
        "label": STRING,
        "n_query": INT,
        **dict.fromkeys(MEASURES, FLOAT),
        **dict.fromkeys(RETRIEVED, FLOAT),
    },
    ("column", "label"),
)
CONFUSIONS = Contract(
    "confusions",
    "a label and another one that its queries were taken for",
    {"column": STRING, "label": STRING, "predicted": STRING, "n": INT, "share": FLOAT},
    ("column", "label", "predicted"),
)
PREDICTIONS = Contract(
    "predictions",
    "a query image in a subset of taxa at a rank",
    {
        "taxa": STRING,
        "column": STRING,
        "image_id": STRING,
        "label": STRING,
        **dict.fromkeys(MEASURES, STRING),
        "nearest_image_id": STRING,
        "nearest_cosine": pa.float32(),
    },
    ("taxa", "column", "image_id"),
)
NEIGHBOURS = Contract(
    "neighbours",
    "a query image, of All by species, and one of the nearest gallery images",
    {"image_id": STRING, "place": INT, "neighbour_image_id": STRING, "cosine": pa.float32()},
    ("image_id", "place"),
)
ONE_BY_ONE = Contract(
    "one_by_one",
    "an encoder that was not trained here: its accuracies if pictures of one specimen could stand on both sides",
    {**dict.fromkeys(MEASURES, FLOAT), "n_query": INT, "n_gallery": INT},
    ("n_query",),
)
HELD_OUT = Contract(
    "held_out",
    "an image that was not fitted on, at a rank: its name, and that of the nearest image",
    {"part": STRING, "column": STRING, "image_id": STRING, "label": STRING, "answer": STRING},
    ("part", "column", "image_id"),
)
PROBE = Contract(
    "probe",
    "a rank",
    {"column": STRING, "micro": FLOAT, "macro": FLOAT, "n_query": INT, "n_gallery": INT, "converged": pa.bool_()},
    ("column",),
)
ZERO_SHOT = Contract(
    "zero_shot",
    "a subset of taxa at a rank",
    {
        "taxa": STRING,
        "column": STRING,
        "top1": FLOAT,
        "top5": FLOAT,
        "macro": FLOAT,
        "n_query": INT,
        "n_labels": INT,
    },
    ("taxa", "column"),
)
CHANGES = Contract(
    "changes",
    "a species or genus under a trained student",
    {"split": STRING, "model": STRING, "column": STRING, "label": STRING, "n_query": INT, "fixed": INT, "broken": INT},
    ("split", "model", "column", "label"),
)
HIERARCHY = Contract(
    "hierarchy",
    "a rank, of images whose species are known or new",
    {
        "part": STRING,
        "rank": STRING,
        "n": INT,
        "answered": FLOAT,
        "accuracy": FLOAT,
        "precision": FLOAT,
        "recall": FLOAT,
        "f1": FLOAT,
        "aurc": FLOAT,
        "n_stopped": INT,
        "accuracy_stopped": FLOAT,
    },
    ("part", "rank"),
)
COVERAGE = Contract(
    "coverage",
    "a point of a curve: the accuracy at a rank when only the most confident share is answered",
    {"part": STRING, "rank": STRING, "coverage": FLOAT, "accuracy": FLOAT},
    ("part", "rank", "coverage"),
)
NOVELTY = Contract(
    "novelty",
    "a novelty score at a rank",
    {"score": STRING, "rank": STRING, "auroc": FLOAT, "fpr95": FLOAT},
    ("score", "rank"),
)
# Beside these, for each rank of the taxonomy: the answer under the rank's name, and the truth under true_{rank}.
TAXONOMIC_ANSWERS = Contract(
    "taxonomic_answers",
    "an image that was asked about",
    {
        "image_id": STRING,
        "part": STRING,
        "answered": STRING,
        "novel_at": STRING,
        "confidence": FLOAT,
        "nearest_image_id": STRING,
    },
    ("image_id",),
)
# Beside these, the answer at each rank of the taxonomy, and nearest_{1..3} with their _species and _cosine.
IDENTIFIED = Contract(
    "identified",
    "a new picture",
    {"image_id": STRING, "reason": STRING, "answered": STRING, "novel_at": STRING, "confidence": FLOAT},
    ("image_id",),
)
SUSPECTS = Contract(
    "suspects",
    "a picture whose name looks wrong",
    {
        "image_id": STRING,
        "name": STRING,
        "suggested": STRING,
        "doubt": FLOAT,
        "nearest_of_name": STRING,
        "nearest_of_suggested": STRING,
    },
    ("image_id",),
)
DUPLICATES = Contract(
    "duplicates",
    "a picture in a group of those that show the same, or one specimen under several names",
    {"group": STRING, "image_id": STRING, "name": STRING, "same": STRING, "correlation": FLOAT},
    ("group", "image_id"),
)
OUTLIERS = Contract(
    "outliers", "a picture that fits nowhere", {"image_id": STRING, "name": STRING, "away": FLOAT}, ("image_id",)
)
CANDIDATES = Contract(
    "candidates",
    "a picture without a species' name, in the group that is likely to be of its species",
    {
        "candidate": INT,
        "image_id": STRING,
        "part": STRING,
        "n": INT,
        "name": STRING,
        "rank": STRING,
        "answer": STRING,
        "nearest_species": STRING,
        "nearest_image_id": STRING,
        "cosine": FLOAT,
        "tightness": FLOAT,
    },
    ("candidate", "image_id"),
)
EMBEDDINGS_MAP = Contract(
    "embeddings_map",
    "an image's place on the plane, of a model's embeddings",
    {
        "model": STRING,
        "image_id": STRING,
        **dict.fromkeys(("pca_1", "pca_2", "tsne_1", "tsne_2"), pa.float32()),
    },
    ("model", "image_id"),
)
SALIENCY = Contract(
    "saliency",
    "a picture, and what in it a model looks at",
    {"model": STRING, "image_id": STRING, "compared_with": STRING, "cosine": pa.float32(), "overlay": pa.binary()},
    ("model", "image_id"),
)
# What the evaluation of one model on one split gives.
EVALUATION = {
    contract.name: contract
    for contract in (
        ACCURACY,
        PREDICTIONS,
        NEIGHBOURS,
        KNN,
        RETRIEVAL,
        CLASSES,
        CONFUSIONS,
        ONE_BY_ONE,
        PROBE,
        HELD_OUT,
    )
}
COMPARISON = Contract(
    "comparison",
    "a model on a subset of taxa at a rank",
    {"model": STRING, **ACCURACY.columns, "split": STRING, **{f"{measure}_sd_seeds": FLOAT for measure in MEASURES}},
    ("split", "model", "taxa", "column"),
)
# The picture store is not Parquet but an Arrow IPC file, which can be memory-mapped: a row is a picture as JPEG.
PICTURES = pa.schema([("image_id", STRING), ("picture", pa.binary())])
