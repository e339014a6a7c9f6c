"""Checks a config before anything runs, and says each fault in one sentence: the key, the value, and what is allowed.

Imports nothing heavy, since every `snakemake` command runs it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import jsonschema

from cladeclip.captioning.specs import kind_named
from cladeclip.config.described import allowed, defaults_of, fill, schema_of
from cladeclip.config.files import drop_nulls
from cladeclip.config.sections import SOURCES, Config, Dataset, Train
from cladeclip.datasets.layouts.specs import LAYOUTS, Nothing, layout_named
from cladeclip.encoders.specs import family_named
from cladeclip.errors import ConfigError, did_you_mean
from cladeclip.names import (
    ControlLabels,
    Features,
    JointLabels,
    NearestLabels,
    ShuffledLabels,
    parse_labels,
    teachers_labels,
)
from cladeclip.plan import all_labels, labels_on, primary_labels
from cladeclip.training.specs import LOSSES, loss_place

# Renamed keys.
MOVED = {
    "split": "folds",
    "split.query_share": "folds.test_share",
    "split.seed": "seeds.folds",
    "folds.query_share": "folds.test_share",
    "folds.seed": "seeds.folds",
    "cluster.seed": "seeds.clusters",
    "eval.seed": "seeds.queries",
    "dataset.draw.seed": "seeds.drawings",
}


def complete(config: dict[str, Any]) -> None:
    """Validates `config` against its schema and across keys, and inserts the defaults of missing keys.

    Raises:
        ConfigError: the first fault found, in one sentence.
    """
    drop_nulls(config)
    _check_moved(config)
    dataset = config.setdefault("dataset", {})
    sections = _sections_of(dataset) if isinstance(dataset, dict) else {}
    schema = schema_of(Config)
    schema["properties"]["dataset"]["properties"] |= {name: schema_of(one) for name, one in sections.items()}
    # The family or kind of an entry determines its keys.
    for named in ("encoders", "captioners"):
        del schema["properties"][named]["additionalProperties"]["additionalProperties"]
    schema["properties"]["captioners"]["properties"] = dict(_captioners(config.get("captioners")))
    faults = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(_plain(config)),
        key=lambda fault: list(map(str, fault.path)),
    )
    if faults:
        raise ConfigError(_sentence(faults[0]))
    fill(config, Config)
    for name, one in sections.items():
        fill(dataset.setdefault(name, {}), one)
    _check_encoders(config)
    _check_references(config)
    check_loss(config["train"])
    _check_interpolation(config)
    _check_primary(config)


def _captioners(captioners: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema of each entry, by its kind.

    Raises:
        ConfigError: there is no such kind.
    """
    for name, entry in captioners.items() if isinstance(captioners, Mapping) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("kind"), str):
            schema = schema_of(kind_named(entry["kind"], f"config: captioners.{name}.kind").settings)
            yield name, schema | {"properties": {"kind": {"type": "string"}, **schema["properties"]}}


def _check_moved(config: Mapping[str, Any]) -> None:
    if isinstance(config.get("seeds"), list):
        raise ConfigError(f"config: seeds is {config['seeds']}; that is called seeds.training now.")
    for old, new in reversed(MOVED.items()):
        value: Any = config
        for part in old.split("."):
            value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
        if value is not MISSING:
            raise ConfigError(f"config: {old} is called {new} now; rename it.")


def _sections_of(dataset: Mapping[str, Any]) -> dict[str, type]:
    """The subsections that `dataset:` may have: those of its source and its layout only.

    Raises:
        ConfigError: there is no such layout, or a section belongs to a layout or source that is not chosen.
    """
    given = {**defaults_of(Dataset), **dataset}
    layout, source = str(given["layout"]), str(given["source"])
    chosen = {layout: layout_named(layout, "config: dataset.layout").settings, source: SOURCES.get(source) or Nothing}
    for word, value, known in (("layout", layout, LAYOUTS), ("source", source, SOURCES)):
        for other in known:
            if other in dataset and other not in chosen:
                raise ConfigError(
                    f"config: dataset.{other} is for {word}: {other}, and dataset.{word} is {value}; change that, or "
                    f"remove dataset.{other}."
                )
    return {name: one for name, one in chosen.items() if one is not Nothing}


def check_other_results(report: Mapping[str, Any]) -> None:
    """Checks that the other results which the report includes exist: Snakemake would silently keep an old report.

    Raises:
        ConfigError: a run of `report.also` or a table of `report.import` is missing.
    """
    for run in report["also"]:
        if not Path(run, "comparison.parquet").is_file():
            raise ConfigError(
                f"config: report.also names {run}, but {run}/comparison.parquet is not there; name the results folder of "
                "a finished run."
            )
    for table in report["import"]:
        if not Path(table).is_file():
            raise ConfigError(f"config: report.import names {table}, which is not there.")


def check_loss(train: Mapping[str, Any]) -> None:
    """Checks that there is such a loss, and that it reads the margins that are set."""
    loss_place(name := train["loss"], "config: train.loss")
    if train["margin_loss_m1"] != 1:
        raise ConfigError(f"config: train.margin_loss_m1 is {train['margin_loss_m1']}; only 1 is allowed.")
    for other, entry in LOSSES.items():
        for margin in entry.margins:
            if train[margin] < 0:
                raise ConfigError(f"config: train.{margin} is {train[margin]}; a margin is 0 or more.")
            read = name not in LOSSES or margin in LOSSES[name].margins
            if not read and train[margin] != (default := defaults_of(Train)[margin]):
                raise ConfigError(
                    f"config: train.{margin} is {train[margin]}, a margin of {other}, and train.loss is {name}; set "
                    f"train.loss: {other}, or {margin}: {default}."
                )


def _plain(value: Any) -> Any:
    """Snakemake's config with tuples as lists: jsonschema accepts its subclasses of dict and list, but no tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _key(path: Iterable[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the top level"


def _sentence(fault: jsonschema.ValidationError) -> str:
    key, value, rule = _key(fault.absolute_path), fault.instance, fault.validator_value
    match fault.validator:
        case "additionalProperties":
            known = list(fault.schema["properties"])
            return _unknown(next(name for name in value if name not in known), fault.absolute_path, known)
        case "required":
            missing = next(name for name in rule if name not in value)
            return f"config: {_key([*fault.absolute_path, missing])} is missing."
        case "minItems" | "minProperties" | "maxItems":
            most = "fewer" if fault.validator == "maxItems" else "more"
            return f"config: {key} has {len(value)} entries; allowed is {rule} or {most}."
        case "minLength":
            return f"config: {key} is empty; a text is needed."
        case "uniqueItems":
            return f"config: {key} is {value!r}; each entry may stand there only once."
        case "enum" if "propertyNames" in fault.absolute_schema_path:
            return _unknown(value, fault.absolute_path, rule)
    near = did_you_mean(value, rule) if fault.validator == "enum" and isinstance(value, str) else ""
    hint = ""
    if isinstance(value, str) and {"number", "integer"} & {fault.schema.get("type")}:
        hint = " (a number is written without quotes, and 1e-5 as 1.0e-5)"
    return f"config: {key} is {value!r}{near}; allowed: {allowed(fault.schema)}{hint}."


def _unknown(name: str, path: Iterable[str | int], known: Sequence[str]) -> str:
    near = did_you_mean(str(name), known)
    return f"config: {_key([*path, name])} is not a known key{near}; allowed are {', '.join(known)}."


def _check_encoders(config: Mapping[str, Any]) -> None:
    for name, encoder in config["encoders"].items():
        key = f"encoders.{name}"
        family_named(encoder["family"], f"config: {key}.family").check(key, encoder)


def _check_references(config: Mapping[str, Any]) -> None:
    encoders = config["encoders"]
    lists = {"labels.teachers": config["labels"]["teachers"]}
    lists |= {key: config[key] for key in ("students", "baselines")}
    if config["folds"]["near_duplicates"]:
        lists["folds.near_duplicates.encoder"] = [config["folds"]["near_duplicates"]["encoder"]]
    for key, names in lists.items():
        for position, name in enumerate(names):
            if name not in encoders:
                raise ConfigError(
                    f"config: {key}[{position}] is {name!r}, which `encoders:` does not define"
                    f"{did_you_mean(name, encoders)}; defined are {', '.join(encoders)}."
                )
    labels = config["labels"]
    for position, features in enumerate(labels["features"]):
        for teacher in labels["teachers"] or [None]:
            _check_features(config, f"labels.features[{position}]", features, teacher)
    for key in ("also", "controls"):
        for position, name in enumerate(labels[key]):
            _check_labels(config, f"labels.{key}[{position}]", name)
    for split, names in labels["only"].items():
        if split not in config["splits"]:
            raise ConfigError(
                f"config: labels.only.{split} names a split that `splits:` does not list; listed are "
                f"{', '.join(config['splits'])}."
            )
        for position, name in enumerate(names):
            if name not in (known := all_labels(config)):
                raise ConfigError(
                    f"config: labels.only.{split}[{position}] is {name!r}, which is none of this run's labels"
                    f"{did_you_mean(name, known)}; they are {', '.join(known)}."
                )
    for position, name in enumerate(config["students"]):
        if not family_named(encoders[name]["family"]).trainable:
            raise ConfigError(
                f"config: students[{position}] is {name!r}, of family {encoders[name]['family']}, which cannot be trained; "
                "use an encoder with weights."
            )
    spelled: dict[str, tuple[str, str, int]] = {}
    for teacher in labels["teachers"]:
        for features_name in labels["features"]:
            for k in labels["k"]:
                name = f"{teacher}-{features_name}-k{k}"
                made_of = (teacher, features_name, k)
                read = parse_labels(name, encoders)
                if (getattr(read, "teacher", None), getattr(read, "features", None)) != made_of[:2] or name in spelled:
                    raise ConfigError(
                        f"config: the name '{name}' can be read in two ways; rename the encoder '{teacher}' in `encoders:`."
                    )
                spelled[name] = made_of


def _check_labels(config: Mapping[str, Any], key: str, name: str) -> None:
    """Checks an entry of `labels.also` or `labels.controls`."""
    try:
        labels = parse_labels(name, config["encoders"])
    except ConfigError as error:
        raise ConfigError(f"config: {key}: {error}") from error
    is_control = isinstance(labels, ControlLabels | ShuffledLabels)
    if is_control and key.startswith("labels.also"):
        raise ConfigError(f"config: {key} is {name!r}, a control; put it under labels.controls.")
    if (of_teacher := teachers_labels(labels)) is None:
        return
    if any(one.k < 2 for one in of_teacher.clusters):
        raise ConfigError(f"config: {key} is {name!r}; a number of clusters is 2 or more.")
    if isinstance(of_teacher, JointLabels) and list(of_teacher.ks) != sorted(set(of_teacher.ks)):
        ordered = JointLabels(of_teacher.teacher, of_teacher.features, tuple(sorted(set(of_teacher.ks))))
        raise ConfigError(f"config: {key} is {name!r}; write the numbers of clusters in order, each once: {ordered}.")
    if isinstance(of_teacher, NearestLabels) and not 1 <= of_teacher.top < of_teacher.k:
        raise ConfigError(
            f"config: {key} is {name!r}; of {of_teacher.k} clusters the nearest 1 to {of_teacher.k - 1} can be asked for."
        )
    _check_features(config, key, of_teacher.features, of_teacher.teacher)


def _check_features(config: Mapping[str, Any], key: str, name: str, teacher: str | None) -> None:
    """Checks that the captioner of these features is defined, and that the teacher has a text tower."""
    features, captioners = Features.parse(name), config["captioners"]
    if features.captioner is not None and features.captioner not in captioners:
        raise ConfigError(
            f"config: {key} is {name!r}, but `captioners:` does not define "
            f"{features.captioner!r}{did_you_mean(features.captioner, captioners)}; "
            f"defined are {', '.join(captioners)}."
        )
    if teacher is None or features.kind == "image":
        return
    if not family_named(config["encoders"][teacher]["family"]).reads_text:
        raise ConfigError(
            f"config: {key} is {name!r}, but the teacher '{teacher}' has no text tower; "
            "use image, or a teacher of family open_clip."
        )


def _check_interpolation(config: Mapping[str, Any]) -> None:
    for position, share in enumerate(config["train"]["interpolate"]):
        if abs(100 * share - (percent := round(100 * share))) > 1e-6 or not 1 <= percent <= 99:
            raise ConfigError(
                f"config: train.interpolate[{position}] is {share}; its percentage becomes part of a name: write it with "
                "two decimals, 0.01 to 0.99."
            )
    if config["train"]["interpolate"] and not config["folds"]["validate_share"]:
        raise ConfigError(
            "config: train.interpolate gives models that are chosen among by pictures kept for that; set "
            "folds.validate_share, 0.1 say."
        )


def _check_primary(config: Mapping[str, Any]) -> None:
    primary = config["report"]["primary"]
    if primary["split"] not in config["splits"]:
        raise ConfigError(
            f"config: report.primary.split is {primary['split']!r}, which `splits:` does not list; "
            f"listed are {', '.join(config['splits'])}."
        )
    main = primary_labels(config)
    if main in all_labels(config) and main not in labels_on(config, primary["split"]):
        raise ConfigError(
            f"config: labels.only.{primary['split']} leaves out {main}, which report.primary is about; add it."
        )
    if config["labels"]["teachers"] and config["labels"]["k"] and primary["k"] not in config["labels"]["k"]:
        raise ConfigError(
            f"config: report.primary.k is {primary['k']}, which labels.k does not list; "
            f"listed are {', '.join(map(str, config['labels']['k']))}."
        )
    if primary["column"] == "taxa" and primary["taxa"] != "All":
        raise ConfigError("config: report.primary.column is 'taxa', which is scored for taxa: All alone.")
