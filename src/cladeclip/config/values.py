"""What single values of a config may be: types with their limits, and what a limit is in words."""

from typing import Annotated, Literal

from cladeclip.config.described import limits

# Of lists.
ONCE, SOME = limits(uniqueItems=True), limits(minItems=1)

Text = Annotated[str, limits(minLength=1)]
Count = Annotated[int, limits(minimum=1)]
Size = Annotated[int, limits(minimum=16, maximum=4096)]
Seed = Annotated[int, limits(minimum=0, maximum=2**32 - 1)]
Positive = Annotated[float, limits(exclusiveMinimum=0)]
NotNegative = Annotated[float, limits(minimum=0)]
Share = Annotated[float, limits(exclusiveMinimum=0, exclusiveMaximum=1)]
K = Annotated[int, limits(minimum=2)]
Workers = Literal["auto"] | Annotated[int, limits(minimum=0)]
Name = Annotated[
    str,
    limits(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        description="a name: lower-case letters and digits, in parts joined by single hyphens",
    ),
]
SplitName = Annotated[
    str, limits(pattern=r"^(all|(holdout|open)-[0-9]+)$", description="all, holdout-NUMBER or open-NUMBER")
]
FeaturesName = Annotated[
    str,
    limits(
        pattern=r"^(image|(text|fused)-[a-z0-9]+(-[a-z0-9]+)*)$", description="image, text-CAPTIONER or fused-CAPTIONER"
    ),
]
Control = Annotated[
    str,
    limits(
        pattern=r"^(species|genus|random-k([2-9]|[1-9][0-9]+)|shuffled-[a-z0-9-]+)$",
        description="species, genus, random-kNUMBER with a number of 2 or more, or shuffled-LABELS",
    ),
]
Revision = Annotated[
    str, limits(pattern=r"^[A-Za-z0-9._/-]+$", description="a branch, a tag or a commit of the repository")
]
Commit = Annotated[str, limits(pattern=r"^[0-9a-f]{40}$", description="the 40-digit hash of a commit")]
Repository = Annotated[str, limits(pattern=r"^[^/]+/[^/]+$", description="OWNER/REPOSITORY")]
Sha256 = Annotated[str, limits(pattern=r"^[0-9a-f]{64}$", description="a sha256 in 64 lower-case hexadecimal digits")]
Freeze = Annotated[
    str, limits(pattern=r"^(none|stem|all_but_last_[1-9][0-9]*)$", description="none, stem or all_but_last_NUMBER")
]
GpuModel = Annotated[str, limits(pattern=r"^[a-zA-Z0-9_.]*$", description="letters, digits, points and underscores")]
Licence = Literal[
    "cc0",
    "public-domain",
    "cc-by",
    "cc-by-sa",
    "cc-by-nd",
    "cc-by-nc",
    "cc-by-nc-sa",
    "cc-by-nc-nd",
    "other",
    "unknown",
]
Column = Literal[
    "image",
    "address",
    "scientific_name",
    "genus",
    "epithet",
    "infraspecific_epithet",
    "taxon_rank",
    "specimen",
    "category",
    "family",
    "order",
    "class",
    "phylum",
    "kingdom",
    "licence_as_written",
    "rights_holder",
    "creator",
    "latitude",
    "longitude",
]
