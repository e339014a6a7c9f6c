"""Hierarchical classification to the lowest reliable rank, and novelty detection: heads for all ranks on frozen embeddings.

After Bjerge et al., "Hierarchical classification of insects with multitask learning and anomaly detection" (2023).
"""
