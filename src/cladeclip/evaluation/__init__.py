"""How well embeddings tell species and genera apart."""

from cladeclip.evaluation.nearest_label import Accuracies, nearest_label_accuracy, predict_labels
from cladeclip.evaluation.significance import PairedTest, mcnemar

__all__ = ["Accuracies", "PairedTest", "mcnemar", "nearest_label_accuracy", "predict_labels"]
