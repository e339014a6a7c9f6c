"""What was drawn, in words: body, colours, markings and pose of a specimen, and never its name.

As in real captions, the words are coarser than the drawing: hues have twelve names, bodies three. Similar
species share captions, and individuals of one species differ in theirs.
"""

import colorsys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cladeclip.demo.specimens import Species

RGB = tuple[int, int, int]
HUES = ("red", "orange", "yellow", "lime", "green", "jade", "cyan", "azure", "blue", "violet", "magenta", "pink")
TAILS = {"Fish": "tail", "Bird": "tail", "Butterfly": "hindwings"}


def caption_of(species: "Species", body: RGB, mark: RGB, *, light: float, scale: float, facing_right: bool) -> str:
    """One sentence on a specimen that was drawn with these colours, this light and this size."""
    noun = species.category.lower()
    build = "stout" if species.slenderness < 0.87 else "slender" if species.slenderness > 1.17 else "medium"
    tail = "short" if species.tail < 0.8 else "long" if species.tail > 1.2 else "medium"
    place = "seen from above" if species.category == "Butterfly" else f"facing {'right' if facing_right else 'left'}"
    size = "small" if scale < 0.8 else "large" if scale > 0.92 else "medium"
    shade = "dim" if light < 0.92 else "bright" if light > 1.03 else "plain"
    return (
        f"a {build} {hue_in_words(body)} {noun} with {tail} {TAILS[species.category]} and {_markings(species, mark)} , "
        f"{place} , {size} in {shade} light"
    )


def _markings(species: "Species", mark: RGB) -> str:
    if species.pattern == "plain":
        return "no markings"
    amount = {3: "few", 5: "several"}.get(species.repeats, "many")
    if species.pattern == "stripe":
        amount = {3: "a narrow", 5: "a broad"}.get(species.repeats, "a very broad")
    return f"{amount} {hue_in_words(mark)} {species.pattern}"


def hue_in_words(colour: RGB) -> str:
    hue, _, _ = colorsys.rgb_to_hsv(*(value / 255 for value in colour))
    return HUES[round(hue * len(HUES)) % len(HUES)]
