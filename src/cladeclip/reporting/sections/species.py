"""The report's section on single species: which are mistaken for which, and what training changed."""

from collections.abc import Mapping
from typing import Any

from cladeclip.io.parquet import read_table
from cladeclip.names import Model
from cladeclip.paths import Results
from cladeclip.reporting.shown import species_answers
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import CHANGES, CLASSES, CONFUSIONS

SHOWN_PAIRS = 15
PICTURES_OF_A_PAIR = 4


def species_section(
    results: Results, config: Mapping[str, Any], model: str | None, pictures: Thumbnails
) -> dict[str, Any]:
    """What the template species.html shows of a trained student on the primary split."""
    split = config["report"]["primary"]["split"]
    confusions = _confusions(results, split, model)
    return {
        "confusions": confusions,
        "pair": _pair(results, split, model, confusions[0], pictures) if model and confusions else None,
        "changes": _changes(results, split, model),
        "classes": _classes(results, split, model),
    }


def _pair(
    results: Results, split: str, model: str, confusion: Mapping[str, Any], pictures: Thumbnails
) -> dict[str, Any]:
    """The most confused pair: queries of the one species, each beside the gallery picture of the other it was taken for."""
    found = species_answers(results, split, model).reset_index()
    found = found[(found["label"] == confusion["label"]) & (found["accuracy_individual"] == confusion["predicted"])]
    found = found.sort_values(["nearest_cosine", "image_id"], ascending=[False, True]).head(PICTURES_OF_A_PAIR)
    return {
        "label": confusion["label"],
        "predicted": confusion["predicted"],
        "shown": [
            {
                "query": pictures.of(row.image_id),
                "nearest": pictures.of(row.nearest_image_id),
                "cosine": float(row.nearest_cosine),
            }
            for row in found.itertuples(index=False)
        ],
    }


def _confusions(results: Results, split: str, model: str | None) -> list[dict[str, Any]]:
    """The pairs of species that a model confuses most often."""
    if model is None:
        return []
    found = read_table(results.evaluation(split, model, "confusions"), CONFUSIONS)
    found = found[found["column"] == "species"].sort_values(["n", "label", "predicted"], ascending=[False, True, True])
    return found.head(SHOWN_PAIRS).to_dict(orient="records")


def _classes(results: Results, split: str, model: str | None) -> list[dict[str, Any]]:
    """How often each species and genus is named right by a trained student, and by the same student before training."""
    trained = Model.parse(model) if model else None
    if trained is None:
        return []
    after, before = (
        read_table(results.evaluation(split, name, "classes"), CLASSES) for name in (str(trained), trained.student)
    )
    columns = ["column", "label", "accuracy_individual"]
    found = after.merge(before[columns], on=["column", "label"], suffixes=("", "_before"), validate="one_to_one")
    found = found.sort_values(["column", "label"], ascending=[False, True])
    shown = ["column", "label", "n_query", "accuracy_individual", "accuracy_individual_before", "map_at_r"]
    return found[shown].to_dict(orient="records")


def _changes(results: Results, split: str, model: str | None) -> list[dict[str, Any]]:
    """The species of which a trained student's answers changed most."""
    if model is None:
        return []
    found = read_table(results.table("changes"), CHANGES)
    found = found[(found["split"] == split) & (found["model"] == model) & (found["column"] == "species")]
    found = found.assign(changed=found["fixed"] + found["broken"])
    found = found[found["changed"] > 0].sort_values(["changed", "label"], ascending=[False, True])
    return found.head(SHOWN_PAIRS).to_dict(orient="records")
