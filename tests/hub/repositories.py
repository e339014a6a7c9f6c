"""The repositories that the default config names: their trees, with small models and whatever pictures are given."""

import csv
import json
import os
from pathlib import Path

from hub.stand_in import HubRepository
from hub.tiny_models import save_florence, save_internvl, save_open_clip, save_timm

# The commit that config.yaml pins.
PINNED = "e5120ba2f20b5daf0783b27dfd2638f5185a61bc"
# Repository, weight file, whether its transform squashes, licence.
OPEN_CLIP = (
    ("apple/DFN5B-CLIP-ViT-H-14-378", "open_clip_pytorch_model.bin", True, "apple-amlr"),
    ("timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors", False, "mit"),
    ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_pytorch_model.bin", False, "mit"),
    ("imageomics/bioclip", "open_clip_pytorch_model.bin", False, "mit"),
    ("imageomics/bioclip-2", "open_clip_model.safetensors", False, "mit"),
)
CHUNK = 200
# The tags of the default config, and the pictures that VLM4Bio lists.
TAGS = (("ViT-H-14-378-quickgelu", "dfn5b"), ("ViT-B-32-quickgelu", "openai"), ("ViT-B-32", "laion2b_s34b_b79k"))
LISTED = {"Fish": 10_347, "Bird": 11_092, "Butterfly": 10_013}


def models(folder: Path) -> list[HubRepository]:
    """Every model of the default config, and Florence-2, as small ones of random weights."""
    found = []
    for seed, (name, weights, squash, licence) in enumerate(OPEN_CLIP):
        save_open_clip(folder / name, weights, seed=seed, squash=squash)
        found.append(HubRepository(name, folder / name, licence=licence))
    save_internvl(folder / "OpenGVLab/InternVL3-2B-hf")
    found.append(HubRepository("OpenGVLab/InternVL3-2B-hf", folder / "OpenGVLab/InternVL3-2B-hf", licence="qwen"))
    save_florence(folder / "florence-community/Florence-2-base")
    found.append(HubRepository("florence-community/Florence-2-base", folder / "florence-community/Florence-2-base"))
    save_timm(folder / "timm/test_vit.r160_in1k")  # none of the default config's, but small as it is
    found.append(HubRepository("timm/test_vit.r160_in1k", folder / "timm/test_vit.r160_in1k", licence="apache-2.0"))
    for repository in found:
        (repository.folder / "README.md").write_text(f"---\nlicense: {repository.licence}\n---\n")
    return found


def as_assumed(folder: Path) -> dict[str, HubRepository]:
    """All that the default config fetches, by repository, as `make check-hub` sees it: configs and lists at full size, and
    next to nothing in the weights and pictures.
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    found = {repository.name: repository for repository in models(folder / "models")}
    for architecture, tag in TAGS:
        known = get_pretrained_cfg(architecture, tag)
        config = {"model_cfg": open_clip.get_model_config(architecture), "preprocess_cfg": known}
        repository = known["hf_hub"].rstrip("/")
        (folder / "models" / repository / "open_clip_config.json").write_text(json.dumps(config))
        found[repository].read_again()
    root = folder / "vlm4bio" / "datasets"
    for category, n in LISTED.items():
        names = [f"{category}_{number}.jpg" for number in range(n)]
        (root / category / "metadata").mkdir(parents=True)
        rows = "".join(f"{number},{name},Genus species\n" for number, name in enumerate(names))
        (root / category / "metadata" / "metadata_10k.csv").write_text(",fileNameAsDelivered,scientificName\n" + rows)
        for number, name in enumerate(names if category != "Bird" else []):
            chunk = root / category / f"chunk_{number // 1000}"
            chunk.mkdir(exist_ok=True)
            (chunk / name).write_bytes(b"")
    found["imageomics/VLM4Bio"] = HubRepository(
        "imageomics/VLM4Bio", root.parent, kind="datasets", licence="mit", commit=PINNED
    )
    return found


def vlm4bio(folder: Path, root: Path) -> HubRepository:
    """imageomics/VLM4Bio with the pictures and lists of `root` (layout vlm4bio): in chunks, and without the birds.

    The pictures are hard links.
    """
    for category in sorted(path for path in root.iterdir() if (path / "images").is_dir()):
        target = folder / "datasets" / category.name
        (target / "metadata").mkdir(parents=True)
        for metadata in (category / "metadata").glob("*.csv"):
            (target / "metadata" / metadata.name).write_bytes(metadata.read_bytes())
            # A list of a part, as the repository has several.
            with metadata.open(newline="") as file:
                rows = list(csv.reader(file))[:4]
            with (target / "metadata" / "metadata_easy.csv").open("w", newline="") as file:
                csv.writer(file).writerows(rows)
        (target / "imagelist_10k.txt").write_text("\n".join(path.name for path in (category / "images").iterdir()))
        if category.name == "Bird":
            (target / "download_bird_images.sh").write_text("# the birds are CUB-200-2011's\n")
            continue
        for number, path in enumerate(sorted((category / "images").iterdir())):
            chunk = target / f"chunk_{number // CHUNK}"
            chunk.mkdir(exist_ok=True)
            link(path, chunk / path.name)
    return HubRepository("imageomics/VLM4Bio", folder, kind="datasets", licence="mit", commit=PINNED)


def link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())
