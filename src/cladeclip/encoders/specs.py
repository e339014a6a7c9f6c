"""The families of encoders: what rules, plan and config know of each, without any of their libraries.

A family is a module with four functions, and a `Family` in FAMILIES, or in another package's entry point of the group
`cladeclip.encoder_families`:

    source(definition) -> HubSource | None             where the weights of an entry of `encoders:` lie on the hub
    make(name, definition, folder) -> list[Snapshot]   brings them into `folder`, in the form that its library loads;
                                                       returns what was downloaded
    load(folder) -> Encoder
    save(model, path) -> None                          writes the weights of a trained `Encoder.model`; not needed where
                                                       `trainable` is false

It may have two more: `differences(definition, theirs)`, how the config of a repository differs from what is assumed
(`make check-hub`), and `bare_tower(architecture, image_px)`, a network without its weights (`make doctor`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cladeclip.errors import ConfigError, did_you_mean
from cladeclip.registry import Entry, named

WEIGHTS = "model.safetensors"
HUB, LOCAL, IN_PACKAGE = "hf-hub:", "local-dir:", "python-package:"
# What an architecture may be: in an entry of `encoders:`, and in words.
ARCHITECTURES = {
    "name": "the name of an architecture",
    "mapping": "a mapping",
    "folder": "hf-hub:OWNER/REPOSITORY or local-dir:FOLDER",
}
# Keys of any family.
ALWAYS = ("family", "title", "licence")
# Where weights come from: a tag, a file, or a seed of random ones.
SOURCES = {"pretrained": "a tag", "weights": "a file", "seed": "random weights"}


@dataclass(frozen=True)
class Family(Entry):
    """One family.

    Attributes:
        name: as `family:` has it.
        module: where its functions are.
        words: what it is.
        keys: of an entry of `encoders:`, beside family, title and licence.
        architectures: kinds of ARCHITECTURES that it takes.
        names: all valid names of architectures; empty: its library decides.
        files: what decides the embeddings of its folder, beside the weights; the first is what its library reads first.
        reads_text: has a text tower.
        trainable: can be a student.
        gpu: a GPU makes it faster.
        tag_and_file: `pretrained` may be given beside `weights`: the tag's transform with the file's weights.
        loading: Python that loads a trained one's FOLDER; note: what else its model card says.
    """

    keys: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    reads_text: bool = False
    trainable: bool = True
    gpu: bool = True
    tag_and_file: bool = False
    loading: str = ""
    note: str = ""

    def check(self, key: str, definition: Mapping[str, Any]) -> None:
        """Rejects an invalid entry of `encoders:`; `key` is its path in the config.

        Raises:
            ConfigError: the sentence names the key, and what to change.
        """
        for unused in sorted(set(definition) - {*self.keys, *ALWAYS}):
            near = did_you_mean(unused, [*self.keys, *ALWAYS])
            raise ConfigError(f"config: {key}.{unused} has no meaning for {self.name}{near}; remove it.")
        if not self.architectures:
            return
        if "architecture" not in definition:
            raise ConfigError(f"config: {key}.architecture is missing; name one that {self.name} has.")
        architecture = definition["architecture"]
        kind = kind_of(architecture)
        if kind not in self.architectures:
            given = "a mapping" if kind == "mapping" else repr(architecture)
            taken = " or ".join(ARCHITECTURES[one] for one in self.architectures)
            raise ConfigError(f"config: {key}.architecture is {given}; {self.name} takes {taken}.")
        if kind == "name" and self.names and architecture not in self.names:
            known = ", ".join(self.names)
            raise ConfigError(f"config: {key}.architecture is {architecture!r}; for {self.name} only {known} is known.")
        self._check_weights(key, definition, kind)

    def _check_weights(self, key: str, definition: Mapping[str, Any], kind: str) -> None:
        on_disk = kind == "folder" and not definition["architecture"].startswith(HUB)
        for needing in ("sha256", "match"):
            if needing in definition and "weights" not in definition and not (needing == "sha256" and on_disk):
                raise ConfigError(f"config: {key}.{needing} has no meaning without a weight file; remove it.")
        given = [source for source in SOURCES if source in definition]
        if kind == "folder":
            if given:
                raise ConfigError(
                    f"config: {key}.{given[0]} contradicts {definition['architecture']!r}, which brings its own weights."
                )
            return
        if kind == "mapping" and "pretrained" in given:
            raise ConfigError(f"config: {key}.pretrained needs a named architecture, not a mapping.")
        if len(given) != 1 and not (self.tag_and_file and given == ["pretrained", "weights"]):
            *most, last = [f"{source} ({SOURCES[source]})" for source in SOURCES if source in self.keys]
            raise ConfigError(
                f"config: {key} needs exactly one of {', '.join(most)} and {last}; given: {', '.join(given) or 'none'}."
            )


def kind_of(architecture: object) -> str:
    """Its kind, a key of ARCHITECTURES."""
    if isinstance(architecture, Mapping):
        return "mapping"
    return "folder" if str(architecture).startswith((HUB, LOCAL, IN_PACKAGE)) else "name"


PIXELS = ("image_px", "mean", "std")
FAMILIES = {
    family.name: family
    for family in (
        Family(
            "open_clip",
            "cladeclip.encoders.families.open_clip",
            "a CLIP of the open_clip library",
            keys=("architecture", "revision", "sha256", *SOURCES, *PIXELS),
            architectures=("name", "mapping", "folder"),
            files=("open_clip_config.json",),
            reads_text=True,
            tag_and_file=True,
            loading="""import open_clip

model, _, transform = open_clip.create_model_and_transforms("local-dir:FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")
model.eval()
embeddings = model.encode_image(transform(picture)[None])""",
            note="It is an open_clip model; its text tower is that of the student before training, unchanged. "
            "`bioclip embed --model local-dir:FOLDER` (pybioclip) works with it as well.",
        ),
        Family(
            "timm",
            "cladeclip.encoders.families.timm",
            "an image network of the timm library",
            keys=("architecture", "revision", "sha256", "match", *SOURCES, *PIXELS),
            architectures=("name", "folder"),
            files=("config.json",),
            loading="""import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
embeddings = model(transform(picture)[None])""",
            note="It is a timm model without classifier: what it returns is the embedding.",
        ),
        Family(
            "transformers",
            "cladeclip.encoders.families.transformers",
            "a vision tower of the transformers library, its patch tokens averaged",
            keys=("architecture", "revision"),
            architectures=("folder",),
            files=("config.json", "preprocessor_config.json"),
            loading="""from transformers import AutoImageProcessor, AutoModel

model = AutoModel.from_pretrained("FOLDER")
processor = AutoImageProcessor.from_pretrained("FOLDER")
# The embedding is the mean of the patch tokens of the vision tower (the whole model, where it has no other part):
tower = getattr(model, "vision_tower", getattr(model, "vision_model", model))
tokens = tower(processor(images=picture, return_tensors="pt")["pixel_values"]).last_hidden_state""",
            note="It is a model of the transformers library; only its vision tower was trained.",
        ),
        Family(
            "unicom",
            "cladeclip.encoders.families.unicom",
            "UNICOM's own ViT-B-32",
            keys=("architecture", "sha256", "weights", "seed", "mean", "std"),
            architectures=("name", "mapping"),
            names=("ViT-B-32",),
            files=("unicom_config.json",),
            loading="""import sys

sys.path.insert(0, "FOLDER")
from unicom_vit import load_unicom_vit

model = load_unicom_vit("FOLDER")
embeddings = model(pictures)  # (n, 3, side, side), normalised with the mean and std of unicom_config.json""",
            note="It is UNICOM's own vision transformer and not an open_clip model: `unicom_vit.py` beside the weights "
            "holds the class that loads it. It needs torch, timm and safetensors.",
        ),
        Family(
            "handcrafted",
            "cladeclip.encoders.families.handcrafted",
            "histograms of colours and edges, no weights",
            keys=("image_px",),
            files=("handcrafted.json",),
            trainable=False,
            gpu=False,
        ),
    )
}


def family_named(name: str, word: str = "family") -> Family:
    """Of FAMILIES, or of an installed package.

    Raises:
        ConfigError: there is none.
    """
    return named(word, name, FAMILIES, "cladeclip.encoder_families")
