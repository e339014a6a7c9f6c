import numpy as np
from test_heads import images_of, softmax

from cladeclip.hierarchy.decision import answer, flat_answers, most_likely_path
from cladeclip.hierarchy.taxonomy import Taxonomy

TAXONOMY = Taxonomy.of_images(images_of(["A a", "A b", "B a", "C a", "C b", "D a"]))


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, len(names))) for names in TAXONOMY.names]


def test_the_path_takes_the_likeliest_child_and_never_another_parents():
    logits = drawn(200)
    path = most_likely_path(logits, TAXONOMY)
    for i, row in enumerate(path):
        assert row[0] == np.argmax(logits[0][i])
        for r in (1, 2):
            children = [c for c, parent in enumerate(TAXONOMY.parents[r]) if parent == row[r - 1]]
            assert row[r] == max(children, key=lambda c: (logits[r][i][c], -c))
    free = np.stack([of_rank.argmax(axis=1) for of_rank in logits], axis=1)
    assert (free != path).any()  # where every rank is asked alone, some answers contradict their parent


def test_going_down_stops_at_the_first_score_above_its_names_limit():
    logits, rng = drawn(300, 1), np.random.default_rng(2)
    path = most_likely_path(logits, TAXONOMY)
    scores, limits = rng.normal(size=(300, 3)), [rng.normal(size=len(names)) + 0.5 for names in TAXONOMY.names]
    found = answer(logits, path, scores, limits)
    for i in range(300):
        depth = 0
        while depth < 3 and scores[i, depth] <= limits[depth][path[i, depth]]:
            depth += 1
        assert found.depth[i] == depth
        assert found.novel_at[i] == (depth if depth < 3 else -1)
        assert list(found.codes[i]) == [*path[i, :depth], *[-1] * (3 - depth)]
        if depth:
            assert np.isclose(found.confidence[i], softmax(logits[depth - 1][i])[path[i, depth - 1]])
        else:
            assert np.isnan(found.confidence[i])
    assert set(found.depth) == {0, 1, 2, 3}


def test_what_is_infinitely_far_is_new_and_what_has_no_limit_is_not():
    logits = drawn(4)
    path = most_likely_path(logits, TAXONOMY)
    limits = [np.full(len(names), 1e9) for names in TAXONOMY.names]
    assert (answer(logits, path, np.full((4, 3), np.inf), limits).novel_at == 0).all()
    endless = [np.full(len(names), np.inf) for names in TAXONOMY.names]
    assert (answer(logits, path, np.full((4, 3), np.inf), endless).depth == 3).all()


def test_a_taxonomy_of_one_rank_is_answered_or_not():
    flat = Taxonomy.of_images(images_of(["A a", "A b"]), ["species"])
    logits = [np.array([[1.0, 2.0], [3.0, 0.0]])]
    path = most_likely_path(logits, flat)
    found = answer(logits, path, np.array([[0.0], [2.0]]), [np.array([1.0, 1.0])])
    assert found.codes.tolist() == [[1], [-1]]
    assert found.novel_at.tolist() == [-1, 0]


def test_the_flat_rival_names_the_most_confident_and_looks_the_parents_up():
    logits = drawn(100, 3)[2]
    found = flat_answers(logits, TAXONOMY, 0.6)
    most = np.array([max(softmax(row)) for row in logits])
    assert (found.depth == 3).sum() == 60
    assert most[found.depth == 3].min() > most[found.depth == 2].max()
    for i, (category, genus, species) in enumerate(found.path):
        assert species == np.argmax(logits[i])
        assert genus == TAXONOMY.parents[2][species]
        assert category == TAXONOMY.parents[1][genus]
        of_genus = [c for c, parent in enumerate(TAXONOMY.parents[2]) if parent == genus]
        assert np.isclose(found.probability[i, 1], sum(softmax(logits[i])[c] for c in of_genus))
        assert found.probability[i, 2] <= found.probability[i, 1] <= found.probability[i, 0] <= 1 + 1e-12
    assert set(found.novel_at) == {-1, 2}
    assert (flat_answers(logits, TAXONOMY, 1.0).depth == 3).all()
