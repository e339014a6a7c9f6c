"""Models and labels in words."""

from collections.abc import Mapping
from typing import Any

from cladeclip.names import (
    ControlLabels,
    Distillation,
    JointLabels,
    Labels,
    Model,
    NearestLabels,
    ShuffledLabels,
    parse_labels,
)


def describe_model(model: str, config: Mapping[str, Any]) -> str:
    """A model in words."""
    trained = Model.parse(model)
    encoders = config["encoders"]
    if trained is None:
        title = encoders[model].get("title", model)
        return f"the untrained student {model}" if model in config["students"] else title
    taught = f"{trained.student} trained on {describe_labels(parse_labels(trained.labels, encoders))}"
    return taught if trained.percent == 100 else f"{taught}, {trained.percent} % of the way"


def describe_labels(labels: Labels) -> str:
    """Labels in words."""
    match labels:
        case ControlLabels():
            return "labels without meaning" if labels.kind == "random" else f"{labels.kind} labels"
        case ShuffledLabels():
            return f"{describe_labels(labels.labels)}, dealt to other pictures"
        case Distillation():
            return f"{labels.teacher}'s own embeddings ({labels.features})"
        case JointLabels():
            ks = f"{', '.join(map(str, labels.ks[:-1]))} and {labels.ks[-1]}"
            return f"{ks} clusters of {labels.teacher} ({labels.features}) at once"
        case NearestLabels():
            return f"the nearest {labels.top} of {labels.k} clusters of {labels.teacher} ({labels.features})"
    return f"{labels.k} clusters of {labels.teacher} ({labels.features})"
