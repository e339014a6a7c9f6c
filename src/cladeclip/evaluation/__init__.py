"""How well embeddings tell species and genera apart."""

from cladeclip.evaluation.significance import PairedComparison, PairedTest, holm, mcnemar, paired_comparison

__all__ = ["PairedComparison", "PairedTest", "holm", "mcnemar", "paired_comparison"]
