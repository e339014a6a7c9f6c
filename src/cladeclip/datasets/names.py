"""Scientific names as labels, read by GBIF's own parser; the name as written is always kept.

An invariant of `read_names`: two names as written become one label only if both parse to the same taxon, or a table of
synonyms says so. What the parser does not know stays as it is written, and nothing is made up for it: no genus, no species.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import nameparser

from cladeclip.errors import DataError
from cladeclip.ranks import HIGHER_RANKS

# Kinds of names: a binomial; an infraspecific or qualified name (`Heliconius erato petiverana`, `Lepomis cf. gulosus`); a
# genus, alone or with `sp.`; a hybrid; other words; and those of no species: a higher taxon, a placeholder, a database key.
SPECIES, OTHER, GENUS, HYBRID, WORDS = "species", "other", "genus", "hybrid", "words"
HIGHER, PLACEHOLDER, IDENTIFIER = "higher", "placeholder", "identifier"
# Kinds that name a taxon at or below the genus.
NAMED = (SPECIES, OTHER, GENUS, HYBRID)
# The data's own rank of a name that is above the genus.
ABOVE_GENUS = "above genus"

# Placeholders that the parser would take for names.
# fmt: off
NO_NAME = frozenset((
    "na", "n/a", "n.a.", "nan", "none", "null", "nil", "no name", "unknown", "unidentified", "undetermined",
    "unnamed", "tbd", "hybrid", "indet", "indet.", "sp", "sp.", "spp", "spp.", "ssp", "ssp.",
))
# Names above the genus that no ending shows.
HIGHER_NAMES = frozenset((
    "Animalia", "Plantae", "Fungi", "Chromista", "Protozoa", "Bacteria", "Archaea", "Chordata", "Arthropoda",
    "Mollusca", "Annelida", "Cnidaria", "Echinodermata", "Porifera", "Tracheophyta", "Bryophyta", "Ascomycota",
    "Basidiomycota", "Vertebrata", "Aves", "Mammalia", "Reptilia", "Amphibia", "Pisces", "Actinopterygii",
    "Elasmobranchii", "Insecta", "Arachnida", "Malacostraca", "Gastropoda", "Bivalvia", "Cephalopoda",
    "Magnoliopsida", "Liliopsida", "Pinopsida", "Polypodiopsida", "Lepidoptera", "Coleoptera", "Diptera",
    "Hymenoptera", "Hemiptera", "Orthoptera", "Odonata", "Ephemeroptera", "Trichoptera", "Araneae", "Decapoda",
    "Rodentia", "Carnivora", "Chiroptera", "Primates", "Squamata", "Testudines", "Anura", "Caudata",
))
# fmt: on
# How names above the genus end: of animals (family, subfamily), plants (family, subfamily), fishes and birds (order).
HIGHER_ENDINGS = ("idae", "inae", "aceae", "oideae", "iformes")
RANKS_ABOVE_GENUS = frozenset(
    f"{prefix}{rank}"
    for rank in (*HIGHER_RANKS, "division", "cohort", "tribe")
    for prefix in ("", "super", "sub", "infra")
) | {"domain", "epifamily", "parvorder"}
# Words that an author's name may begin with.
PARTICLES = frozenset(("von", "van", "der", "den", "des", "del", "della", "dos", "das", "ter", "zur"))
# iNaturalist's folders: a number, then seven ranks.
INATURALIST = re.compile(r"\d+((?:_[A-Z][a-z-]+){6})_([a-z-]+)")


@dataclass(frozen=True)
class Name:
    """What a name as written says.

    Attributes:
        label: class label of its pictures; empty where it names no species.
        genus: empty where it says none.
        kind: one of those above.
        taxon: what the parser takes it for, the same for all spellings of a taxon; empty for what is no taxon.
        author: words after the name (no year, point or brackets) that may be its author or part of it; else empty.
        accepted: the accepted name that a table of synonyms gives for this one; else empty.
    """

    label: str
    genus: str
    kind: str
    taxon: str = ""
    author: str = ""
    accepted: str = ""


def plain(written: str) -> str:
    """In composed Unicode, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", written).split())


def says_nothing(value: str) -> bool:
    """Whether a value is missing: blank, `NA`, `unknown`, `???` ..."""
    text = plain(value).lower()
    return text in NO_NAME or not any(map(str.isalnum, text))


def joined(genus: str, name: str) -> str:
    """Genus and what stands behind it (`Tyto`, `alba`; `Lepomis`, `sp. 1`) as one name; a whole name stays as it is."""
    genus, text = plain(genus), _without_underscores(name)
    if not genus_of(genus) or says_nothing(text) or text.lower().startswith(genus.lower()) or not text[0].islower():
        return name
    whole = f"{genus} {text}"
    return whole if read_name(whole).genus == genus else name


def rank_of(said: str) -> str:
    """What the data's own rank, such as Darwin Core's taxonRank, says of a name: `genus`, ABOVE_GENUS or nothing."""
    rank = said.strip().lower()
    return rank if rank == GENUS else ABOVE_GENUS if rank in RANKS_ABOVE_GENUS else ""


def genus_of(said: str) -> str:
    """The genus in the value of a genus column; empty if it is not a genus name."""
    words = plain(said).split(" ")
    return words[0] if re.fullmatch(r"[A-Z][^\W\d_]*[^\W\d_A-Z]", words[0]) and not says_nothing(words[0]) else ""


def higher_ranks_in(written: str) -> dict[str, str]:
    """The ranks (of HIGHER_RANKS, and genus) that the name of a folder of iNaturalist has; none for other names."""
    found = INATURALIST.fullmatch(written)
    return dict(zip((*reversed(HIGHER_RANKS), GENUS), found[1].split("_")[1:], strict=True)) if found else {}


def read_names(
    written: Iterable[tuple[str, str]], synonyms: Mapping[str, str] | None = None
) -> dict[tuple[str, str], Name]:
    """Every name, by its spelling and `rank_of`, under the invariant above.

    Args:
        synonyms: names, in any spelling, and the accepted name of each.

    Raises:
        DataError: synonyms go round in a circle, or give two spellings of a name different accepted ones.
    """
    accepted: dict[str, str] = {}
    for name, name_for in (synonyms or {}).items():
        if _label(name) == _label(name_for):
            continue
        if _label(accepted.setdefault(_label(name), name_for)) != _label(name_for):
            raise DataError(
                f"dataset.synonyms: gives {_label(name)!r} two accepted names, {accepted[_label(name)]!r} and {name_for!r}; "
                "keep one."
            )
    found = {(name, rank): _accepted(name, rank, accepted) for name, rank in dict.fromkeys(written)}
    by_label: dict[str, list[tuple[str, str]]] = {}
    for key, said in found.items():
        by_label.setdefault(said.label, []).append(key)
    for label, keys in by_label.items():
        taxa = {found[key].taxon or found[key].accepted or plain(key[0]) for key in keys}
        authors = {found[key].author for key in keys}
        # If one spelling has no author, or a certain one, the words after the others are authors, too.
        if not label or (len(taxa) == 1 and (len(authors) < 2 or "" in authors)):
            continue
        # `Black footed Albatross` and `Black footed Penguin`: neither is a species that somebody described.
        for key in keys:
            if found[key].author or len(taxa) > 1:
                name = plain(found[key].accepted or key[0])
                found[key] = Name(name, "", WORDS, accepted=found[key].accepted)
    return found


def _label(name: str) -> str:
    return read_name(name).label or plain(name)


def _accepted(name: str, rank: str, accepted: Mapping[str, str]) -> Name:
    said, seen, last = read_name(name, rank), [name], ""
    while (label := said.label or plain(last or name)) in accepted:
        last = accepted[label]
        if _label(last) in map(_label, seen):
            raise DataError(f"dataset.synonyms: goes round in a circle: {' -> '.join([*seen, last])}; break it.")
        seen.append(last)
        said = read_name(last)
    return replace(said, accepted=last) if last else said


@cache
def read_name(written: str, rank: str = "") -> Name:
    """One name; `rank` is its `rank_of`."""
    text = _without_underscores(written)
    if says_nothing(text):
        return Name("", "", PLACEHOLDER)
    if rank == ABOVE_GENUS:
        return Name("", "", HIGHER)
    try:
        parsed = nameparser.parse(text)
    except nameparser.UnparsableNameError as error:
        return _unparsable(written, text, error.name_type)
    if isinstance(parsed, nameparser.Informal):
        # `Lepomis sp. 1`; but `Red_Fox` and `Bird 1`, too.
        known = parsed.taxon_rank == "GENUS" and parsed.rank == "SPECIES"
        if known and _is_higher(parsed.taxon):
            return Name("", "", HIGHER)
        return Name(text, parsed.taxon, GENUS, taxon=text) if known else _words(written)
    return _parsed(written, text, parsed, rank)


def _without_underscores(written: str) -> str:
    """Without enclosing quotes; underscores become spaces if there are none; iNaturalist's folder names become binomials."""
    text = plain(written)
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if found := INATURALIST.fullmatch(text):
        text = f"{found[1].rpartition('_')[2]} {found[2]}"
    return text if " " in text else " ".join(text.split("_"))


def _words(written: str) -> Name:
    return Name(plain(written), "", WORDS)


def _unparsable(written: str, text: str, name_type: str) -> Name:
    match name_type:
        case "FORMULA":
            label = " ".join(re.sub(r"×|(?<=\s)[xX](?=\s)", " x ", text).split())
            genus = label.split()[0]
            if re.fullmatch(r"[A-Z][a-z-]+", genus):
                return Name(label, genus, HYBRID, taxon=label)
        case "PLACEHOLDER" if len(text.split()) > 1:
            return Name("", "", PLACEHOLDER)
        case "IDENTIFIER":
            return Name("", "", IDENTIFIER)
    return _words(written)


def _parsed(written: str, text: str, parsed: nameparser.ParsedName, rank: str) -> Name:
    author = _perhaps_no_author(text, parsed.authorship_complete() or "")
    doubtful = parsed.doubtful and not parsed.epithet_qualifier
    if parsed.state != "COMPLETE" or doubtful or parsed.type == "OTHER" or re.search(r" (?:or|vs\.?) ", text):
        return _words(written)
    name = parsed.genus or parsed.uninomial or ""
    if not name[:1].isupper() or not re.fullmatch(r"[^\W\d_]{2,}|[A-Z][a-z]{,2}\.", name):
        return _words(written)
    if parsed.genus is None or parsed.specific_epithet is None:
        return _uninomial(written, text, parsed, author, rank)
    if parsed.rank not in ("SPECIES", None) and not parsed.infraspecific_epithet and not parsed.cultivar_epithet:
        return Name(text, parsed.genus, OTHER, taxon=text)  # `Lepomis gulosus complex`
    label = (parsed.canonical_name_without_authorship() or text).replace("×", "x")
    if parsed.notho or re.search(r"\bF\d\b", label):
        kind = HYBRID
    elif parsed.rank == "SPECIES" and parsed.type == "SCIENTIFIC" and not parsed.epithet_qualifier:
        kind = SPECIES
    else:
        kind = OTHER
    if (kind != SPECIES or not text.startswith(label)) and label != text and read_name(label).label != label:
        return _words(written)  # `Lepomis gulosus gulosus cf.`, `Lepomis x gulosus gulosus cf.`, `missing_f`
    return Name(label, "" if parsed.genus.endswith(".") else parsed.genus, kind, taxon=label, author=author)


def _perhaps_no_author(text: str, author: str) -> str:
    """The words that the parser took for an author, if they may be part of the name instead; else nothing.

    `(Cuvier, 1829)`, `L.` and `de Geer` are an author's; `Fox` behind `Red`, and `A` behind `Class`, may be or not.
    """
    if not author or not text[-1].isalpha():
        return ""
    words = text.split()[-len(author.split()) :]
    maybe = all(re.fullmatch(r"[^\W\d_]+(?:-[^\W\d_]+)*", word) and word[0].isupper() for word in words)
    return " ".join(words) if maybe else ""


def _uninomial(written: str, text: str, parsed: nameparser.ParsedName, author: str, rank: str) -> Name:
    name = parsed.uninomial
    if name is None or parsed.infrageneric_epithet or parsed.notho:
        return Name(text, parsed.genus, GENUS, taxon=text) if parsed.genus else _words(written)
    if re.fullmatch(r"F\d", parsed.authorship_complete() or ""):
        return Name(text, name, HYBRID, taxon=text)
    if author or not text.startswith(name):
        return _words(written)  # `Red Fox`, `cat`
    if rank != GENUS and _is_higher(name):
        return Name("", "", HIGHER)
    if (behind := re.match(r"\W*([a-z]{3,})", text.removeprefix(name))) and behind[1] not in PARTICLES:
        return Name(text, name, OTHER, taxon=text)  # `Turdus [merula]`
    return Name(name, name, GENUS, taxon=name)


def _is_higher(uninomial: str) -> bool:
    return uninomial in HIGHER_NAMES or uninomial.lower().endswith(HIGHER_ENDINGS)
