"""What a finished demo must show: `python tests/demo/check_finished_demo.py results/demo`."""

import sys
from pathlib import Path

import numpy as np

from cladeclip.io.atomic import read_json, sha256_of_file
from cladeclip.io.embeddings import read_embeddings
from cladeclip.io.parquet import read_metadata


def main(results: str) -> None:
    folder = Path(results)
    summary = read_json(folder / "summary.json")
    assert summary["n_query"] >= 150, summary["n_query"]
    assert set(summary["tests"]) == {"specimen-vit", "specimen-vit.random-k54.seed5"}
    for rival, test in summary["tests"].items():
        assert test["difference"] > 0, rival
        assert test["p_value"] < 0.05, rival
        print(f"{summary['primary_model']} beats {rival}: +{test['difference']:.1%}, p = {test['p_value']:.2g}")
    (text,) = summary["text"]
    assert text["model"] == summary["primary_model"]
    assert text["low"] <= text["difference"] <= text["high"]
    print(f"Do the captions help? {text['difference']:+.1%} ({text['low']:+.1%} to {text['high']:+.1%})")
    captions = sha256_of_file(folder / "captions" / "drawn.parquet")
    of = {
        name: folder / "embeddings" / "drawn-clip" / f"{name}.parquet"
        for name in ("image", "text-drawn", "fused-drawn")
    }
    for name in ("text-drawn", "fused-drawn"):
        assert read_metadata(of[name])["captions_sha256"] == captions, name
    ids, image = read_embeddings(of["image"])
    fused_ids, fused = read_embeddings(of["fused-drawn"])
    assert ids == fused_ids
    assert not np.allclose(image / np.linalg.norm(image, axis=1, keepdims=True), fused, atol=1e-3)


if __name__ == "__main__":
    main(sys.argv[1])
