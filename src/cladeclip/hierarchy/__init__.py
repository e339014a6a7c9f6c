"""Answers at the lowest reliable rank, and whether a species is new: heads for all ranks on frozen embeddings.

After Bjerge et al., "Hierarchical classification of insects with multitask learning and anomaly detection" (2023).
"""
