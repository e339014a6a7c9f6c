"""Paths of everything that a run reads and writes, defined only here, for rules and package alike.

Names may be wildcards of Snakemake (`{split}`), which is why paths are text. Imports nothing heavy, since every `snakemake`
command runs it.
"""

from cladeclip.names import Model


class Results:
    """The files of one run, below its folder `results/NAME`."""

    def __init__(self, folder: object) -> None:
        self.folder = str(folder)

    def __str__(self) -> str:
        return self.folder

    def file(self, name: str) -> str:
        """One file per run: report.html, manifest.json ..."""
        return f"{self.folder}/{name}"

    def table(self, name: str) -> str:
        """One table per run: images, quarantine, names, comparison ..."""
        return self.file(f"{name}.parquet")

    def store(self, side: object) -> str:
        """The pictures, reduced to a shorter side of so many pixels."""
        return self.file(f"store/{side}.arrow")

    def captions(self, captioner: str) -> str:
        return self.table(f"captions/{captioner}")

    def features(self, encoder: str, features: str, place: str = "") -> str:
        """Embeddings of an encoder; `place` is `{split}/` for a student that was trained on one."""
        return self.table(f"{place}embeddings/{encoder}/{features}")

    def embeddings(self, model: str, split: str) -> str:
        """A model's image embeddings; those of a trained student lie below its split."""
        return self.features(model, "image", f"{split}/" if Model.parse(model) else "")

    def shard(self, encoder: str, shard: str, place: str = "") -> str:
        return self.table(f"{place}shards/{encoder}/{shard}")

    def cache(self, rows: str, of: str) -> str:
        """The folder of cached rows (images, texts, captions)."""
        return self.file(f"cache/{rows}/{of}")

    def split(self, split: str) -> str:
        """The `split` table: which pictures are fitted or tested on."""
        return self.table(f"{split}/split")

    def labels(self, split: str, labels: str, ending: str = "parquet") -> str:
        """Clusters or controls: the labels, how good they are (`quality.json`), their centres (`centroids.parquet`)."""
        return self.file(f"{split}/clusters/{labels}.{ending}")

    def checkpoint(self, split: str, model: str, file: str = "model.safetensors") -> str:
        return self.file(f"{split}/checkpoints/{model}/{file}")

    def evaluation(self, split: str, model: str, table: str) -> str:
        return self.table(f"{split}/evaluation/{model}/{table}")

    def unnamed(self, split: str, model: str, ending: str = "parquet") -> str:
        """A model's names for the pictures without a species."""
        return self.file(f"{split}/unnamed/{model}.{ending}")

    def identified(self, split: str, model: str, ending: str = "parquet") -> str:
        """A model's names for new pictures."""
        return self.file(f"{split}/identify/{model}.{ending}")

    def curation(self, split: str, model: str, file: str) -> str:
        """The lists of what a curator should look at, by a model's embeddings, and their page."""
        return self.file(f"{split}/curate/{model}/{file}")

    def release(self, split: str, model: str) -> str:
        """The model card, in the folder of the released files."""
        return self.file(f"{split}/release/{model}/README.md")

    def lr_range(self, split: str, model: str, ending: str) -> str:
        return self.file(f"lr_range/{split}/{model}.{ending}")

    def log(self, job: str) -> str:
        return self.file(f"logs/{job}.log")

    def events(self, job: str) -> str:
        """The folder of a training's TensorBoard event files."""
        return self.file(f"logs/{job}")

    def benchmark(self, job: str) -> str:
        """What Snakemake measured of a job: seconds, memory."""
        return self.file(f"benchmarks/{job}.tsv")


class Weights:
    """What is downloaded once for all runs: below the folder that the config's `weights` names."""

    def __init__(self, folder: object) -> None:
        self.folder = str(folder)

    def __str__(self) -> str:
        return self.folder

    def encoder(self, encoder: str) -> str:
        """The record of an encoder's weights; it exists only when all of them do."""
        return f"{self.folder}/{encoder}/encoder.json"

    def captioner(self, captioner: str) -> str:
        return f"{self.folder}/captioners/{captioner}/captioner.json"
