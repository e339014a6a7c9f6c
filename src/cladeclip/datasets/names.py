"""Scientific names as labels: white space, letter case, authors and years out of the way; the original string is kept."""

import re

HYBRID_SIGNS = ("x", "×")
# Lower-case words that begin an author's name, or a remark on the identification, and are no epithet.
PARTICLES = "and et in ex de del della des di du da dos la le van von der den ten ter zu sensu auct nec non emend"
NOT_EPITHETS = frozenset(PARTICLES.split())
RANK_MARKS = frozenset(
    ("subsp.", "ssp.", "var.", "f.", "forma", "cf.", "aff.", "sp.", "spp.", "cf", "aff", "sp", "spp")
)


def normalise_name(name: str) -> str:
    """`name` without author and year, genus capitalised, the rest in lower case, white space collapsed.

    Hybrid formulas (`A b x c`) and open names (`A sp.`) keep their words. The author begins at the first word behind the
    genus that is capitalised, in brackets, a number, or a particle of names (`de`, `von`, `ex`). A second word in capitals
    is an epithet where the whole name is in capitals, else an author: `Lepomis Rafinesque` is the genus Lepomis.
    """
    words = name.replace("_", " ").split()
    if not words:
        return ""
    if len(words) > 1 and all(word.isupper() for word in words[:2]) and len(words[1]) > 1:
        words = [word.lower() for word in words]
    kept = [words[0][:1].upper() + words[0][1:].lower()]
    for word in words[1:]:
        after_sign = kept[-1] in HYBRID_SIGNS
        if word in ("X", "×"):
            kept.append("x")
        elif after_sign and word[:1].isupper():
            kept.append(word[:1] + word[1:].lower())
        elif (
            re.fullmatch(r"F\d", word)
            or word in RANK_MARKS
            or (re.fullmatch(r"[a-zà-ÿ][a-zà-ÿ-]*", word) and word not in NOT_EPITHETS)
        ):
            kept.append(word)
        else:
            break
    return " ".join(kept)


def name_kind(name: str) -> str:
    """`species` for a binomial, `genus` for one word or `A sp.`, `hybrid` for `A b x c` or `A F2`, `other` for the rest."""
    words = name.split()
    if any(word in HYBRID_SIGNS or re.fullmatch(r"F\d", word) for word in words):
        return "hybrid"
    if len(words) == 1 or (len(words) == 2 and words[1] in RANK_MARKS):
        return "genus"
    return "species" if len(words) == 2 else "other"
