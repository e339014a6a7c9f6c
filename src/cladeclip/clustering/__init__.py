"""Cluster ids as class labels: k-means on a teacher's embeddings, controls that need no teacher, and how good they are."""
