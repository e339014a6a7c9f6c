"""How well embeddings tell species and genera apart."""
