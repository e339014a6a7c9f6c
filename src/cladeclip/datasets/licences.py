"""Licences of pictures: what data says of them, in one word each, and which is the strictest."""

import re
from collections.abc import Iterable

# From the most to the least that may be done with a picture.
LICENCES = {
    "cc0": "CC0, no rights reserved",
    "public-domain": "in the public domain",
    "cc-by": "CC BY, with attribution",
    "cc-by-sa": "CC BY-SA, and shared alike",
    "cc-by-nd": "CC BY-ND, unchanged",
    "cc-by-nc": "CC BY-NC, not for commercial use",
    "cc-by-nc-sa": "CC BY-NC-SA, not for commercial use, and shared alike",
    "cc-by-nc-nd": "CC BY-NC-ND, unchanged, and not for commercial use",
    "other": "other words, or all rights reserved",
    "unknown": "nothing is said",
}
SAYS_NOTHING = frozenset({"", "none", "na", "n/a", "null", "unknown", "unspecified", "not specified", "not provided"})
# Creative Commons' conditions, in the order of their names.
CONDITIONS = {
    "by": r"by|attribution",
    "nc": r"nc|non-?\s?commercial(?! (re)?use (is )?(allowed|permitted))",
    "nd": r"nd|no-?\s?deriv\w*",
    "sa": r"sa|share-?\s?alike",
}


def licence_of(text: str) -> str:
    """The one of LICENCES that a text names: an address, an abbreviation or words, as `dcterms:license` holds.

    What has conditions beside Creative Commons' own, or forbids what they allow, is `other`.
    """
    said = text.strip().lower().replace("_", "-")
    if said in SAYS_NOTHING:
        return "unknown"
    # Words that take back what the rest of the text allows.
    if re.search(r"all rights reserved|\b(not|no)\b(?!-?\s?(commercial|deriv|rights reserved|known copyright))", said):
        return "other"
    if re.search(r"\b(permission|only|except|unless|but)\b", said):
        return "other"
    if re.search(r"publicdomain/zero|\bcc-?\s?(zero|0)\b|\bcc0|^no rights reserved", said):
        return "cc0"
    if re.search(r"publicdomain|public[- ]domain|no known copyright|\bpdm\b", said):
        return "public-domain"
    if not re.search(r"creativecommons\.org/licen[sc]es|creative commons|\bcc\b|\bcc-?by|^by\b", said):
        return "other"
    # Versions, countries and addresses say nothing about conditions: only whole words count.
    named = [name for name, words in CONDITIONS.items() if re.search(rf"(?<![a-z])(cc-?)?({words})(?![a-z])", said)]
    if named[:1] != ["by"]:
        return "other"
    return next((code for code in LICENCES if sorted(code.split("-")[1:]) == sorted(named)), "other")


def strictest(licences: Iterable[str]) -> str:
    """Of some of LICENCES the one that allows least; what is not known may be stricter than all.

    CC BY-SA and CC BY-ND, and their like, exclude each other's use in one work; the latter is called the stricter.
    """
    order = list(LICENCES)
    return max(licences, key=order.index)
