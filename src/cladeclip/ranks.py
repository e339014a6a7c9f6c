"""Taxonomic ranks, and the columns of the `images` table that hold the names at each."""

# Darwin Core's terms for the ranks above the genus, from low to high: columns that `images` has where the data has them.
HIGHER_RANKS = ("family", "order", "class", "phylum", "kingdom")
# All ranks at which pictures may be named, from low to high, and the user's own grouping.
COLUMN_OF_RANK = {"species": "scientific_name"} | {rank: rank for rank in ("genus", *HIGHER_RANKS, "category")}
