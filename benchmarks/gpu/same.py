"""Whether a GPU gives the same as the CPU, and the same again: within which distance."""

import importlib.util
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.gpu.setting import STUDENT, Check, Finding, Setting
from cladeclip.clustering.lloyd import kmeans
from cladeclip.clustering.on_device import PointsOnDevice
from cladeclip.encoders.embed import embed_images, embed_texts, in_halves
from cladeclip.encoders.encoder import half_precision
from cladeclip.encoders.fusion import normalise
from cladeclip.evaluation.evaluate import evaluate
from cladeclip.hierarchy.classifier import Settings, fit_classifier
from cladeclip.hierarchy.taxonomy import Taxonomy
from cladeclip.training.classes import of_classes
from cladeclip.training.loop import Training, picture_groups
from cladeclip.training.optimisation import one_cycle

CPU = torch.device("cpu")


def lowest_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((normalise(a).astype(np.float64) * normalise(b)).sum(1).min())


def embeddings(setting: Setting) -> Iterator[Finding]:
    pictures = setting.pictures[:48]
    captions = [f"a photo of a {word}" for word in ("fish", "bird", "butterfly", "long thin fish with a dark tail")]

    def of(device: torch.device, precision: str) -> list[np.ndarray]:
        encoder = setting.encoder(STUDENT, vision_alone=False, device=CPU)
        rest = {"precision": precision, "device": str(device)}
        images = embed_images(encoder, setting.root, pictures, batch_size=16, workers=2, **rest)
        encoder.model.to(device)
        return [images, embed_texts(encoder, captions, batch_size=4, **rest)]

    expected = of(CPU, "fp32")
    for precision, least in (("fp32", 0.99999), ("auto", 0.999)):
        found = of(setting.device, precision)
        for kind, ours, theirs in zip(("pictures", "captions"), found, expected, strict=True):
            value = lowest_cosine(ours, theirs)
            what = f"embeddings of {kind}, precision {precision}, against fp32 on the CPU"
            yield Finding(what, value, "lowest cosine", wanted=f"≥ {least}", holds=value >= least)


@torch.inference_mode()
def neighbours_in_a_batch(setting: Setting) -> Iterator[Finding]:
    encoder = setting.encoder(STUDENT)
    size = 16 if setting.small else 64
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(size, 3, encoder.image_px, encoder.image_px, generator=generator).to(setting.device)
    with half_precision(setting.device, "auto"):
        whole = encoder.encode_images(batch)
        others = {
            "beside other pictures, in a batch as large": torch.cat(
                [encoder.encode_images(batch.roll(k, 0))[k : k + 1] for k in range(0, size, size // 4)]
            ),
            "in a halved batch": torch.cat([encoder.encode_images(half) for half in batch.chunk(2)]),
            "alone": torch.cat([encoder.encode_images(row) for row in batch.split(1)]),
        }
    first = whole[:1].expand(4, -1)
    for how, found in others.items():
        same = first if "beside" in how else whole
        value = lowest_cosine(found.cpu().numpy(), same.cpu().numpy())
        note = "the same bytes" if torch.equal(found, same) else "not the same bytes"
        yield Finding(f"a row {how}", value, "lowest cosine", wanted="≥ 0.9999", holds=value >= 0.9999, note=note)


def out_of_memory(setting: Setting) -> Iterator[Finding]:
    if not setting.on_gpu:
        yield Finding("a batch that the memory does not hold", note="skipped: no GPU")
        return
    encoder = setting.encoder(STUDENT)
    batch = torch.zeros(2048, 3, encoder.image_px, encoder.image_px, device=setting.device)
    batch[:, :, ::7] = 1
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    used = total - free
    torch.cuda.set_per_process_memory_fraction(min(1.0, (used + 1.2e9) / total))
    try:
        parts = in_halves(encoder.encode_images, batch)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    value = lowest_cosine(torch.cat(parts).cpu().numpy(), encoder.encode_images(batch[:64]).cpu().numpy()[[0] * 2048])
    yield Finding(
        "a batch that the memory does not hold",
        len(parts),
        "parts",
        wanted="more than one, lowest cosine ≥ 0.9999",
        holds=len(parts) > 1 and value >= 0.9999,
        note=f"lowest cosine {value:.6f}",
    )


def clusters(setting: Setting) -> Iterator[Finding]:
    _, points, _ = setting.collection(256)
    points, k = points[:8_000], 40 if setting.small else 200
    ours, again = (kmeans(points, k, seed=5, device=str(setting.device)) for _ in range(2))
    note = "twice the same bytes" if np.array_equal(ours.centroids, again.centroids) else "twice, other bytes"
    if importlib.util.find_spec("faiss") is None:
        yield Finding("k-means against the CPU's", note=f"skipped: faiss is not installed; {note}")
        return
    expected = kmeans(points, k, seed=5, device="cpu")
    share = ours.inertia / expected.inertia
    yield Finding(
        "k-means: inertia beside the CPU's",
        ours.inertia,
        "",
        expected.inertia,
        share,
        "0.99 to 1.01",
        0.99 < share < 1.01,
        note,
    )


def faiss_on_the_gpu(setting: Setting) -> Iterator[Finding]:
    what = "faiss on the GPU"
    if importlib.util.find_spec("faiss") is None:
        yield Finding(what, note="skipped: faiss is not installed")
        return
    import faiss

    if not setting.on_gpu or faiss.get_num_gpus() == 0:
        yield Finding(what, note="skipped: it sees no GPU")
        return
    _, points, _ = setting.collection(1024)
    centroids = points[:2000]
    index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatL2(points.shape[1]))
    index.add(centroids)
    theirs = setting.seconds(lambda: index.search(points, 1), times=3)
    held = PointsOnDevice(points, setting.device)
    ours = setting.seconds(lambda: held.nearest(centroids), times=3)
    yield Finding(
        "one assignment of k-means, by torch", ours, "s", theirs, theirs / ours, note="limit: faiss on the GPU"
    )


def evaluations(setting: Setting) -> Iterator[Finding]:
    images, points, split = setting.collection(128)
    n = 1_500 if setting.small else 6_000
    images, points, split = images[:n], points[:n], split[:n]

    def of(device: torch.device) -> dict[str, float]:
        probe = {"c": 1.0, "max_iterations": 100}
        found = evaluate(images, points, split, protocol="all", query_share=0.2, seed=5, probe=probe, device=device)
        values = {
            f"{name} {column}": float(table[column].mean())
            for name, table in (("accuracy", found.accuracy), ("knn", found.knn), ("retrieval", found.retrieval))
            for column in table.select_dtypes(float).columns
        }
        return values | {f"probe {row.column}": float(row.micro) for row in found.probe.itertuples()}

    ours, theirs = of(setting.device), of(CPU)
    for what in ("probe", ""):
        apart = max(
            abs(ours[name] - theirs[name])
            for name in theirs
            if name.startswith("probe") == (what == "probe") and np.isfinite(theirs[name])
        )
        least = 0.5 if what else 1e-6
        name = "probe" if what else "search, votes and retrieval"
        yield Finding(
            f"evaluation, {name}: farthest from the CPU's", apart, "", wanted=f"≤ {least:g}", holds=apart <= least
        )


def hierarchy(setting: Setting) -> Iterator[Finding]:
    images, points, _ = setting.collection(128)
    images, points = images[:2_000], points[:2_000]
    taxonomy = Taxonomy.of_images(images)
    said = []
    for device in (setting.device, CPU):
        classifier = fit_classifier(images, points, taxonomy, Settings(), seed=5, device=device)
        said.append(classifier.answers(points, "mahalanobis"))
    same = float(np.mean([np.mean(a == b) for a, b in zip(*map(_names, said), strict=True)]))
    yield Finding("names at several ranks: the CPU's answers", same, "share", wanted="≥ 0.99", holds=same >= 0.99)


def _names(answers: object) -> list[np.ndarray]:
    return [value for value in vars(answers).values() if isinstance(value, np.ndarray) and value.dtype.kind in "iub"]


def trainings(setting: Setting) -> Iterator[Finding]:
    steps, batch_size = 12, 8 if setting.small else 32
    ids = list(setting.store.position) * 8
    targets = of_classes(ids, np.arange(len(ids)) % 8, 8)

    def losses(device: torch.device, **changes: object) -> np.ndarray:
        settings = setting.settings(batch_size=batch_size, epochs=100, lr=1e-4, **changes)
        encoder = setting.encoder(STUDENT, device=CPU)
        training = Training(encoder, targets, settings, one_cycle(settings, 100), seed=5, device=device)
        groups = picture_groups(encoder, setting.store, targets, settings, training, workers=2)
        return np.array([float(training.take_step(next(groups), 1).loss) for _ in range(steps)])

    expected = losses(CPU, precision="fp32")
    ways = {
        "fp32": (1e-4, {"precision": "fp32"}),
        "tf32": (1e-2, {"precision": "tf32"}),
        "auto": (3e-2, {"precision": "auto"}),
    }
    if setting.on_gpu:
        ways["auto, compiled"] = (3e-2, {"precision": "auto", "compile": True})
    else:
        yield Finding("training, compiled", note="skipped: no GPU")
    for name, (most, changes) in ways.items():
        ours = losses(setting.device, **changes)
        apart = float(np.abs(ours / expected - 1).max())
        yield Finding(
            f"training, precision {name}: losses of {steps} steps, farthest from fp32 on the CPU",
            apart,
            "",
            wanted=f"≤ {most:g}",
            holds=apart <= most,
        )
    first, second = (losses(setting.device, precision="auto") for _ in range(2))
    note = "the same losses" if np.array_equal(first, second) else "other losses"
    yield Finding("training twice", float(np.abs(first - second).max()), "farthest loss", note=note)


def one_process(setting: Setting) -> Iterator[Finding]:
    """nccl (on the CPU gloo) with one process gives its own numbers back."""
    import torch.distributed as dist

    backend = "nccl" if setting.on_gpu else "gloo"
    dist.init_process_group(backend, init_method=f"file://{setting.folder}/rendezvous", rank=0, world_size=1)
    try:
        values = torch.arange(5.0, device=setting.device)
        summed, parts = values.clone(), [torch.empty_like(values)]
        dist.all_reduce(summed)
        dist.all_gather(parts, values)
        same = torch.equal(summed, values) and torch.equal(parts[0], values)
        tower = torch.nn.Linear(5, 5).to(setting.device)
        wrapped = torch.nn.parallel.DistributedDataParallel(tower)
        wrapped(values[None]).sum().backward()
        same = same and tower.weight.grad is not None
    finally:
        dist.destroy_process_group()
    yield Finding(f"{backend} with one process", wanted="its own numbers", holds=bool(same))


CHECKS: list[Check] = [
    embeddings,
    neighbours_in_a_batch,
    out_of_memory,
    clusters,
    faiss_on_the_gpu,
    evaluations,
    hierarchy,
    trainings,
    one_process,
]
