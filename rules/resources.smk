# What jobs ask for: GPUs, memory and time. Nothing here imports torch.
from cladeclip.encoders.specs import family_named


def needs_gpu(wildcards):
    return int(family_named(family_of(wildcards.get("encoder") or wildcards.model)).gpu)


def gpus(wanted):
    """How many GPUs a rule asks for (a number, or a function of the wildcards), and of which type if the config names one."""
    asked = {"gpu": wanted}
    if config["gpu_model"]:
        asked["gpu_model"] = lambda wildcards: (
            config["gpu_model"] if (wanted(wildcards) if callable(wanted) else wanted) else ""
        )
    return asked


def megabytes(files):
    """Their size on disk. Snakemake's own input.size_mb starts an event loop each time, seconds in a large plan."""
    return sum(Path(file).stat().st_size for file in files) / 1e6


def counted(input, of):
    """The input of that name, as a list of files; all inputs where there is no name."""
    return [input[of]] if of else input


def tries(attempt, rulename, wildcards):
    """The factor of a job's memory and time: the number of its attempt if an earlier one began, else 1.

    A job that the cluster refused to start was not killed for its memory or time: with more it would be refused, too.
    """
    log = Path(workflow.get_rule(rulename).log[0].apply_wildcards(wildcards))
    began = attempt > 1 and log.exists() and log.stat().st_mtime > STARTED
    return attempt if began else 1


def memory(base, per_input=0, per_weights=0, of=""):
    """The mem_mb of a rule: `base` + `per_input` x its inputs + `per_weights` x its encoder's weights, times `tries`.

    `of` is the input that counts, by its name; all where it is not given.

    Where the inputs are not there yet, Snakemake asks again before the job starts.
    """

    def mem_mb(wildcards, input, attempt, rulename):
        needed = base + (per_input * megabytes(counted(input, of)) if per_input else 0)
        if per_weights:
            # Raises where the file is missing: Snakemake recognises the error by the input's name, and asks again later.
            Path(input.encoder).stat()
            weights = Path(input.encoder).parent.glob("*.safetensors")
            needed += per_weights * megabytes(weights)
        return int(tries(attempt, rulename, wildcards) * needed)

    return mem_mb


def minutes(base, per_mb=0, of=""):
    """The runtime of a rule: `base` + `per_mb` minutes per MB of its inputs, or of the one named `of`, times `tries`."""

    def runtime(wildcards, input, attempt, rulename):
        needed = base + (per_mb * megabytes(counted(input, of)) if per_mb else 0)
        return int(tries(attempt, rulename, wildcards) * needed)

    return runtime
