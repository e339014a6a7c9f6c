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
# Parts of a licence's name, as one word each. What is left of a text without them may take back what they give.
PARTS = (
    (r"https?://(www\.)?creativecommons\.org/(licen[sc]es/)?|creative ?commons|\bcc\b", " cc "),
    (r"\bcc ?0\b|\bcc zero\b|\bzero\b|^no rights reserved$", " cc zero "),
    (r"public ?domain|^no known copyright( restrictions)?$|\bpdm\b", " cc public "),
    (r"\bnon ?commercial\b|\bnc\b", " nc "),
    (r"\bno ?deriv(ative)?s?( ?works)?\b|\bnd\b", " nd "),
    (r"\bshare ?alike\b|\bsa\b", " sa "),
    (r"\battribution\b|\bby\b", " by "),
)
# Words that say nothing of conditions: versions, the country that a text was made for, and what stands around a name.
AROUND = re.compile(
    r"v?\d(\.\d)?( international| generic| unported| universal| igo)?|\b(licen[sc]e[ds]?|under|an?|the|mark|dedication|deed|"
    r"legalcode|international|generic|unported|universal|version|[a-z]{2}|deed [a-z]{2})\b"
)
# As iNaturalist writes it: (c) Jane Doe, some rights reserved (CC BY-NC).
SOME_RIGHTS = re.compile(r"some rights reserved \((cc[^()]*)\)$")


def licence_of(text: str) -> str:
    """The one of LICENCES that a text names: an address, an abbreviation or words, as `dcterms:license` holds.

    A text with any other word in it is `other`: it may have conditions of its own.
    """
    said = text.strip().lower()
    if said in SAYS_NOTHING:
        return "unknown"
    if some := SOME_RIGHTS.search(said):
        said = some[1]
    if not re.match(r"https?://", said):
        said = re.sub(r"[-_,;:()/]+", " ", said)
    for pattern, word in PARTS:
        said = re.sub(pattern, word, re.sub(r"\s+", " ", said).strip())
        said = said.replace("-", " ")
    named = re.findall(r"\b(zero|public|by|nc|nd|sa)\b", said)
    left = re.sub(r"\b(cc|zero|public|by|nc|nd|sa)\b", " ", said).replace("/", " ")
    if re.sub(r"[\s./]+", "", AROUND.sub(" ", left)):
        return "other"
    if "zero" in named or "public" in named:
        return "other" if {"by", "nc", "nd", "sa"} & set(named) else "cc0" if "zero" in named else "public-domain"
    # A name may stand there twice: in words, and abbreviated in brackets.
    conditions = set(named)
    if "by" not in conditions:
        return "other"
    return next((code for code in LICENCES if set(code.split("-")[1:]) == conditions), "other")


def strictest(licences: Iterable[str]) -> str:
    """Of some of LICENCES the one that allows least; what is not known may be stricter than all.

    CC BY-SA and CC BY-ND, and their like, exclude each other's use in one work; the latter is called the stricter.
    """
    order = list(LICENCES)
    return max(licences, key=order.index)
