from cladeclip.datasets.layouts.vlm4bio import read_metadata
from cladeclip.demo.specimens import draw_specimens, taxonomy


def test_the_same_seed_draws_the_same_bytes(specimens, tmp_path):
    draw_specimens(tmp_path, species_per_genus=1, images_per_species=6, image_px=48, seed=5, workers=2)
    files = sorted(path.relative_to(specimens) for path in specimens.rglob("*.*"))
    assert files
    assert all((tmp_path / path).read_bytes() == (specimens / path).read_bytes() for path in files)


def test_the_demos_taxonomy_is_large_enough():
    species = taxonomy(3, seed=5)
    assert len({s.name for s in species}) == 27
    assert len({s.genus for s in species}) == 9
    assert len({s.category for s in species}) == 3
    assert all(s.name.startswith(s.genus) for s in species)


def test_every_drawn_picture_is_listed(specimens):
    listed = read_metadata(specimens)
    assert len(listed) == 54
    assert all((specimens / image_id).is_file() for image_id in listed["image_id"])
