"""How well embeddings tell species and genera apart."""

from cladeclip.evaluation.nearest_label import Accuracies, nearest_label_accuracy, predict_labels
from cladeclip.evaluation.retrieval import RetrievalMetrics, retrieval_metrics
from cladeclip.evaluation.significance import PairedComparison, PairedTest, mcnemar, paired_comparison

__all__ = [
    "Accuracies",
    "PairedComparison",
    "PairedTest",
    "RetrievalMetrics",
    "mcnemar",
    "nearest_label_accuracy",
    "paired_comparison",
    "predict_labels",
    "retrieval_metrics",
]
