"""How well embeddings tell species and genera apart."""

from cladeclip.evaluation.knn import knn_accuracy
from cladeclip.evaluation.nearest_label import Accuracies, Predictions, nearest_label_accuracy, predict_labels
from cladeclip.evaluation.retrieval import RetrievalMetrics, retrieval_metrics
from cladeclip.evaluation.significance import PairedComparison, PairedTest, holm, mcnemar, paired_comparison

__all__ = [
    "Accuracies",
    "PairedComparison",
    "PairedTest",
    "Predictions",
    "RetrievalMetrics",
    "holm",
    "knn_accuracy",
    "mcnemar",
    "nearest_label_accuracy",
    "paired_comparison",
    "predict_labels",
    "retrieval_metrics",
]
