"""curate.html: what a curator should look at, on one page that needs no network, with the keys to decide it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cladeclip.datasets.decisions import DECISIONS, decision_rows
from cladeclip.io.parquet import read_table
from cladeclip.paths import Results
from cladeclip.reporting.pages import asset, environment, policy
from cladeclip.reporting.thumbnails import Thumbnails
from cladeclip.tables import CANDIDATES, DUPLICATES, IMAGES, OUTLIERS, SUSPECTS

# Longer side of a picture on the page, in pixels: more than in the report, since one has to tell species by it.
SIDE_PX = 144


def render_curation(results: Results, config: Mapping[str, Any], split: str, model: str, *, words: str) -> str:
    """The page, of the tables in {split}/curate/{model}/; cards on all of whose pictures a decision was read are left out.

    At most `curate.max_mb` MB are pictures. Where there are more, those at the end of the lists are left out, and the page
    says how many.

    Args:
        words: the model, see `describe_model`.
    """
    images = read_table(results.table("images"), IMAGES)
    earlier = decision_rows(config["dataset"]["decisions"])
    tables = {
        contract.name: read_table(results.curation(split, model, f"{contract.name}.parquet"), contract)
        for contract in (SUSPECTS, DUPLICATES, OUTLIERS, CANDIDATES)
    }
    lists = {
        "candidates": _candidates(tables["candidates"]),
        "suspects": _suspects(tables["suspects"]),
        "duplicates": _duplicates(tables["duplicates"]),
        "outliers": _outliers(tables["outliers"]),
    }
    decided = set(earlier["image_id"])
    lists = {name: [card for card in cards if not decided.issuperset(card["ids"])] for name, cards in lists.items()}
    names = sorted({*images["scientific_name"], *earlier["name"]} - {""})
    pictures, shown = Thumbnails(Path(results.store(config["train"]["store_px"])), config["curate"]["max_mb"] * 1e6), {}
    for cards in lists.values():
        for card in cards:
            for image_id in [*card["ids"], *(image_id for _, image_id in card["beside"])]:
                if image_id not in shown:
                    shown[image_id] = pictures.of(image_id, SIDE_PX)
    data = {
        # Under this name the browser keeps what was decided on this page.
        "page": f"{results}/{split}/{model} {_digest(str(Path(str(results)).resolve()))}",
        "made": _digest(json.dumps(lists, sort_keys=True)),
        "names": names,
        "decisions": list(DECISIONS),
        "earlier": earlier.to_numpy().tolist(),
        "lists": lists,
        "pictures": shown,
    }
    style, scripts = asset("report.css") + asset("curate.css"), [asset("page.js"), asset("curate.js")]
    return (
        environment()
        .get_template("curate.html")
        .render(
            dataset=config["dataset"]["name"],
            words=words,
            n_named=int((images["scientific_name"] != "").sum()),
            n=len(images),
            decided=len(decided),
            left_out=pictures.left_out,
            style=style,
            scripts=scripts,
            policy=policy(style, scripts),
            data=_as_script(data),
        )
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_script(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _suspects(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.sort_values(["doubt", "image_id"], ascending=[False, True])
    return [
        {
            "ids": [row.image_id],
            "names": [row.name],
            "suggested": row.suggested,
            "beside": [
                [f"nearest {words}", image_id]
                for words, image_id in ((row.name, row.nearest_of_name), (row.suggested, row.nearest_of_suggested))
                if image_id
            ],
        }
        for row in rows.itertuples(index=False)
    ]


def _duplicates(table: pd.DataFrame) -> list[dict[str, Any]]:
    cards = []
    for _, rows in table.groupby("group", sort=True):
        names = rows["name"].value_counts()
        cards.append(
            {
                "ids": rows["image_id"].tolist(),
                "names": rows["name"].tolist(),
                "suggested": str(names.index[0]),
                "same": str(rows["same"].iloc[0]),
                "beside": [],
                "n_names": len(names),
            }
        )
    # Under several names first: one of them is wrong.
    return sorted(cards, key=lambda card: (-card["n_names"], card["ids"]))


def _outliers(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.sort_values(["away", "image_id"], ascending=[False, True])
    return [
        {"ids": [row.image_id], "names": [row.name], "suggested": "", "beside": []}
        for row in rows.itertuples(index=False)
    ]


def _candidates(table: pd.DataFrame) -> list[dict[str, Any]]:
    cards = []
    for number, rows in table.groupby("candidate", sort=True):
        first = rows.iloc[0]
        cards.append(
            {
                "ids": rows["image_id"].tolist(),
                "parts": [f"{number}:{part}" for part in rows["part"]],
                "names": [""] * len(rows),
                "suggested": first["name"],
                "safe": f"{first['rank']} {first['answer']}".strip(),
                "known": first["rank"] == "species",
                "cosine": round(float(first["cosine"]), 3),
                "tightness": round(float(first["tightness"]), 3),
                "beside": [[f"nearest known: {first['nearest_species']}", first["nearest_image_id"]]],
            }
        )
    return cards
