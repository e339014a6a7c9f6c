"""Draws specimens of an invented taxonomy: species within genera within three categories, in VLM4Bio's folder layout.

A category is a body plan, a genus a body shape with a family of hues, a species a colour and a pattern. Individuals vary
in pose, scale, light, and in how their pattern is laid out, on the plain light backdrops of museum photographs. (On
coloured, textured backgrounds a teacher made of histograms follows the background, and nothing is learned.) Each picture
has a caption that says what was drawn (`captions.py`).
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter

from cladeclip.demo.captions import caption_of
from cladeclip.io.atomic import atomic_path
from cladeclip.random_streams import stream_of
from cladeclip.run.progress import progress

CATEGORIES = {
    "Fish": ("Piscator", "Undalis", "Squamella"),
    "Bird": ("Avicula", "Pennaria", "Cantorix"),
    "Butterfly": ("Papiliora", "Alifera", "Chrysopta"),
}
METADATA = {"Fish": "metadata_10k.csv", "Bird": "bird_metadata_10k.csv", "Butterfly": "metadata.csv"}
EPITHETS = ("rubra", "striata", "maculata", "elegans", "nigra", "pallida", "gracilis", "minor")
PATTERNS = ("bars", "spots", "stripe", "plain")
CAPTIONS = "captions.csv"
OVERSAMPLE = 3


@dataclass(frozen=True)
class Species:
    """What all individuals of a species share."""

    category: str
    genus: str
    name: str
    slenderness: float
    tail: float
    hue: float
    saturation: float
    second_hue: float
    pattern: str
    repeats: int


def draw_specimens(
    root: str | Path, *, species_per_genus: int, images_per_species: int, image_px: int, seed: int, workers: int = 1
) -> pd.DataFrame:
    """Draws the dataset below `root`, with a table of captions (image_id, caption) beside the categories.

    Returns:
        its metadata, one row a picture. The same seed gives the same bytes.
    """
    root = Path(root)
    drawn = taxonomy(species_per_genus, seed)
    draw = partial(_draw_species, root=root, n=images_per_species, image_px=image_px, seed=seed)
    with ProcessPoolExecutor(workers) as pool:
        captions = list(progress(pool.map(draw, drawn), total=len(drawn), desc="drawing", unit="species"))
    rows = [
        (kind.category, name, kind.name, caption)
        for kind, of_species in zip(drawn, captions, strict=True)
        for name, caption in of_species.items()
    ]
    metadata = pd.DataFrame(rows, columns=["category", "fileNameAsDelivered", "scientificName", "caption"])
    image_ids = metadata["category"] + "/images/" + metadata["fileNameAsDelivered"]
    with atomic_path(root / CAPTIONS) as temporary:
        metadata[["caption"]].set_index(image_ids.rename("image_id")).sort_index().to_csv(temporary)
    for category, listed in metadata.groupby("category"):
        with atomic_path(root / str(category) / "metadata" / METADATA[str(category)]) as temporary:
            listed[["fileNameAsDelivered", "scientificName"]].reset_index(drop=True).to_csv(temporary)
    return metadata


def _draw_species(species: Species, root: Path, n: int, image_px: int, seed: int) -> dict[str, str]:
    """Draws all individuals of a species; returns their file names, each with its caption."""
    captions = {}
    for individual in range(n):
        name = f"{species.name.replace(' ', '_')}_{individual:03d}.jpg"
        with atomic_path(root / species.category / "images" / name) as temporary:
            picture, captions[name] = draw_individual(species, image_px, individual, seed)
            picture.save(temporary, "JPEG", quality=92)
    return captions


def taxonomy(species_per_genus: int, seed: int) -> list[Species]:
    """Three categories of three genera of `species_per_genus` species."""
    species = []
    n_genera = sum(map(len, CATEGORIES.values()))
    for kind, (category, genera) in enumerate(CATEGORIES.items()):
        for position, genus in enumerate(genera):
            of_genus = stream_of(seed, genus)
            # Hues of genera overlap a little: colour alone does not tell them apart.
            hue = (position * len(CATEGORIES) + kind + float(of_genus.uniform(-0.2, 0.2))) / n_genera
            slenderness = (0.75, 1.0, 1.35)[position] * float(of_genus.uniform(0.95, 1.05))
            tail = (1.0, 0.6, 1.4)[position]
            for number in range(species_per_genus):
                of_species = stream_of(seed, f"{genus}/{number}")
                species.append(
                    Species(
                        category=category,
                        genus=genus,
                        name=f"{genus} {EPITHETS[number]}",
                        slenderness=slenderness * float(of_species.uniform(0.95, 1.05)),
                        tail=tail,
                        hue=(hue + 0.07 * number) % 1.0,
                        saturation=float(of_species.uniform(0.55, 0.9)),
                        second_hue=(hue + 0.35 + 0.13 * number) % 1.0,
                        pattern=PATTERNS[(number + position) % len(PATTERNS)],
                        repeats=3 + 2 * (number % 3),
                    )
                )
    return species


def draw_individual(species: Species, image_px: int, individual: int, seed: int) -> tuple[Image.Image, str]:
    """One picture (image_px, image_px) RGB, and its caption."""
    rng = stream_of(seed, f"{species.name}/{individual}")
    side = image_px * OVERSAMPLE
    light = float(rng.uniform(0.85, 1.1))
    backdrop = tuple(int(v) for v in np.clip(rng.normal((236, 234, 228), 4) * min(light, 1.04), 0, 255))
    body = _hsv(species.hue + rng.normal(0, 0.012), species.saturation + rng.normal(0, 0.04), 0.8 * light)
    mark = _hsv(species.second_hue + rng.normal(0, 0.012), species.saturation, 0.6 * light)

    mask = Image.new("L", (side, side), 0)
    _DRAW[species.category](ImageDraw.Draw(mask), side, species)
    skin = Image.new("RGB", (side, side), body)
    _pattern(ImageDraw.Draw(skin), side, species, mark, rng)
    _shade(skin, side, float(rng.uniform(-1, 1)))

    angle = float(rng.normal(0, 14)) + (180 if species.category == "Butterfly" and rng.random() < 0.1 else 0)
    scale = float(rng.uniform(0.72, 1.0))
    shift = (float(rng.uniform(-0.08, 0.08)) * side, float(rng.uniform(-0.08, 0.08)) * side)
    mask, skin = (_posed(layer, angle, scale, shift, side) for layer in (mask, skin))
    facing_right = species.category != "Butterfly" and rng.random() < 0.5
    if facing_right:
        mask, skin = (layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for layer in (mask, skin))

    picture = Image.new("RGB", (side, side), backdrop)
    shadow = mask.filter(ImageFilter.GaussianBlur(side / 40)).point(lambda v: v // 5)
    picture.paste((120, 118, 112), (side // 60, side // 50), shadow)
    picture.paste(skin, (0, 0), mask)
    picture = picture.resize((image_px, image_px), Image.Resampling.LANCZOS)
    noisy = np.asarray(picture, dtype=np.float64) + rng.normal(0, 4, (image_px, image_px, 3))
    caption = caption_of(species, body, mark, light=light, scale=scale, facing_right=facing_right)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), caption


def _fish(draw: ImageDraw.ImageDraw, side: int, species: Species) -> None:
    height = 0.2 * side / species.slenderness
    left, right, middle = 0.14 * side, 0.72 * side, 0.5 * side
    draw.ellipse((left, middle - height, right, middle + height), fill=255)
    fin = 0.14 * side * species.tail
    draw.polygon(
        [(0.66 * side, middle), (0.9 * side, middle - fin), (0.84 * side, middle), (0.9 * side, middle + fin)], 255
    )
    top = middle - height
    draw.polygon([(0.35 * side, top + 4), (0.45 * side, top - 0.5 * fin), (0.58 * side, top + 0.2 * height)], 255)


def _bird(draw: ImageDraw.ImageDraw, side: int, species: Species) -> None:
    height = 0.15 * side / species.slenderness
    draw.ellipse((0.25 * side, 0.52 * side - height, 0.68 * side, 0.52 * side + height), fill=255)
    head = 0.09 * side
    draw.ellipse((0.2 * side, 0.3 * side, 0.2 * side + 2 * head, 0.3 * side + 2 * head), fill=255)
    draw.polygon(
        [(0.26 * side, 0.4 * side), (0.36 * side, 0.36 * side), (0.46 * side, 0.48 * side), (0.3 * side, 0.56 * side)],
        255,
    )
    draw.polygon([(0.21 * side, 0.37 * side), (0.21 * side, 0.42 * side), (0.1 * side, 0.41 * side)], 255)
    length = 0.24 * side * species.tail
    draw.polygon([(0.62 * side, 0.46 * side), (0.66 * side + length, 0.58 * side), (0.62 * side, 0.58 * side)], 255)
    for x in (0.42, 0.5):
        draw.line([(x * side, 0.52 * side + height * 0.8), (x * side, 0.78 * side)], fill=255, width=max(2, side // 60))


def _butterfly(draw: ImageDraw.ImageDraw, side: int, species: Species) -> None:
    spread = 0.34 * side * min(species.slenderness, 1.2)
    drop = 0.2 * side * species.tail
    middle = 0.5 * side
    for sign in (-1, 1):
        tip = middle + sign * spread
        draw.polygon(
            [
                (middle, 0.46 * side),
                (middle + sign * 0.6 * spread, 0.22 * side),
                (tip, 0.26 * side),
                (tip - sign * 0.04 * side, 0.48 * side),
                (middle, 0.54 * side),
            ],
            255,
        )
        draw.ellipse(_sorted_box(middle, 0.46 * side, middle + sign * 0.8 * spread, 0.52 * side + drop), fill=255)
    draw.ellipse((middle - 0.025 * side, 0.3 * side, middle + 0.025 * side, 0.7 * side), fill=255)


_DRAW = {"Fish": _fish, "Bird": _bird, "Butterfly": _butterfly}


def _sorted_box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _pattern(
    draw: ImageDraw.ImageDraw, side: int, species: Species, colour: tuple[int, int, int], rng: np.random.Generator
) -> None:
    n = species.repeats
    match species.pattern:
        case "bars":
            offset, width = rng.uniform(0, 1), side / (3.2 * n)
            for i in range(n + 1):
                x = (i + offset) * side / n
                draw.rectangle((x - width / 2, 0, x + width / 2, side), fill=colour)
        case "stripe":
            y, width = side * rng.uniform(0.46, 0.54), side * 0.012 * n
            draw.rectangle((0, y - width, side, y + width), fill=colour)
        case "spots":
            radius = side / (5.0 * n)
            for _ in range(3 * n * n):
                x, y = rng.uniform(0, side, 2)
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _shade(skin: Image.Image, side: int, direction: float) -> None:
    """Light from above, a little from one side."""
    ramp = np.linspace(1.12, 0.82, side)[:, None] + direction * np.linspace(-0.06, 0.06, side)[None, :]
    lit = np.asarray(skin, dtype=np.float64) * ramp[..., None]
    skin.paste(Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)))


def _posed(layer: Image.Image, angle: float, scale: float, shift: tuple[float, float], side: int) -> Image.Image:
    turned = layer.rotate(angle, Image.Resampling.BILINEAR, translate=(round(shift[0]), round(shift[1])))
    half = side / 2
    window = (half - half / scale, half - half / scale, half + half / scale, half + half / scale)
    return turned.transform((side, side), Image.Transform.EXTENT, window, Image.Resampling.BILINEAR)


def _hsv(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    parts = (hue % 1.0, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0, 1)))
    red, green, blue = np.asarray(Image.new("HSV", (1, 1), tuple(round(255 * part) for part in parts)).convert("RGB"))[
        0, 0
    ]
    return int(red), int(green), int(blue)
