"""The training loop: an encoder and what it is trained for, one optimiser step after the other."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from cladeclip.config.sections import Train
from cladeclip.datasets.store import PictureStore
from cladeclip.devices import choose_device
from cladeclip.encoders.encoder import Encoder
from cladeclip.errors import ConfigError, DataError
from cladeclip.run.progress import progress
from cladeclip.training.curves import Curves, StepReport
from cladeclip.training.freezing import freeze
from cladeclip.training.objective import Targets, Turn
from cladeclip.training.optimisation import Schedule, average_of, make_optimiser, one_cycle
from cladeclip.training.pictures import BatchFinish, EpochBatches, Read, TrainingPictures, seeded, training_loader
from cladeclip.training.processes import SINGLE, Processes
from cladeclip.training.state import TrainingState
from cladeclip.training.stopping import NOTHING, TO_STOP, Agreement, TrainingInterrupted, listening

# The b pictures that one process read, and the targets (b * processes, ...) of all processes; on the CPU.
Batch = tuple[Read, Tensor]
# Of AdamW while the objective alone is trained: torch's own.
HEAD_BETAS = (0.9, 0.999)
# Later than any step.
NEVER = torch.iinfo(torch.int64).max


def train(
    encoder: Encoder,
    store: PictureStore,
    targets: Targets,
    settings: Train,
    *,
    seed: int,
    workers: int,
    device: str | torch.device = "auto",
    processes: Processes = SINGLE,
    state: TrainingState | None = None,
    events: Path | None = None,
) -> pd.DataFrame:
    """Trains `encoder.tower` in place on the pictures of `targets`.

    In the first `head_epochs` the objective alone is trained, of a constant learning rate (Kumar et al., ICLR 2022).

    Args:
        workers: processes that read and augment; the result does not depend on their number.
        processes: one a GPU; each calls this function with the same arguments.
        state: where the state of the training is saved, and taken up from.
        events: folder for TensorBoard's event files.

    Returns:
        The table of training.csv: a StepReport every `log_every` steps and at the last.

    Raises:
        ConfigError, DataError: the settings and the data cannot go together, or the loss is not a number.
        TrainingInterrupted: SIGTERM or SIGINT came; the state is saved.
    """
    where = choose_device(device)
    if settings.epochs == 0:
        return Curves(1, 0, 0).table()
    tuned = check_feasible(len(targets.rows), settings, processes.count)
    steps_an_epoch = tuned // settings.epochs
    training = Training(
        encoder,
        targets,
        settings,
        one_cycle(settings, tuned),
        seed=seed,
        device=where,
        processes=processes,
        head_steps=settings.head_epochs * steps_an_epoch,
    )
    total = training.head_steps + tuned
    rows = state.resume(training, where) if state else []
    groups = picture_groups(encoder, store, targets, settings, training, workers=workers)
    events = events if processes.rank == 0 else None
    curves = Curves(
        settings.log_every,
        total,
        settings.batch_size * settings.gradient_acc * processes.count,
        first=training.step + 1,
        rows=rows,
        events=events,
    )
    bar = progress(total=total, initial=training.step, desc="training", unit="steps")
    with listening() as requests:
        agreed = Agreement(requests, processes, where, training.step)
        for group in groups:
            step = training.take_step(group, epoch=training.step // steps_an_epoch + 1)
            bar.update()
            reported, asked = curves.has(training.step), NOTHING
            if state is not None and training.step < total:
                asked = agreed.after(training.step, state.due())
            if not reported and asked == NOTHING:
                continue
            if wrong := training.first_without_loss():
                if state:
                    state.remove()
                raise DataError(
                    f"training: the loss is not a number at step {wrong} of {total}; lower train.lr (now {settings.lr}), "
                    "or set train.precision to fp32."
                )
            if reported:
                report = step.report()
                curves.add(report)
                bar.set_postfix(loss=f"{report.loss:.3f}", refresh=False)
            if asked == NOTHING or state is None:
                continue
            saved = state.save(training, curves.rows, where)
            if asked == TO_STOP:
                curves.close()
                kept = f"its state is in {state.folder}" if saved else "its state could not be saved"
                raise TrainingInterrupted(
                    f"training: stopped by a signal after step {training.step} of {total}; {kept}. The same command goes on."
                )
    bar.close()
    curves.close()
    training.finish()
    return curves.table()


@dataclass(frozen=True)
class Step:
    """Metrics of one optimiser step; `loss` and `target_cosine` are on the device, which may not have computed them yet."""

    step: int
    epoch: int
    loss: Tensor
    target_cosine: Tensor
    positive_share: float
    lr_encoder: float
    lr_centres: float

    def report(self) -> StepReport:
        """Its numbers; waits for the device."""
        return StepReport(**{**vars(self), "loss": float(self.loss), "target_cosine": float(self.target_cosine)})


class Training:
    """An encoder, its objective and their optimisers between two steps.

    Args:
        head_steps: the first ones, in which the encoder stays as it is.

    Attributes:
        step: the number of steps taken.
    """

    def __init__(
        self,
        encoder: Encoder,
        targets: Targets,
        settings: Train,
        schedule: Schedule,
        *,
        seed: int,
        device: torch.device,
        processes: Processes = SINGLE,
        head_steps: int = 0,
    ) -> None:
        self.step, self.head_steps = 0, head_steps
        self.settings, self.seed, self.device, self.processes = settings, seed, device, processes
        self.encoder = encoder.to(device)
        # Convolutions are trained half as fast again with a picture's channels side by side in memory.
        self.tower: Any = encoder.tower.to(memory_format=torch.channels_last)
        freeze(self.tower, settings.freeze)
        self._set_mode()
        self.objective = targets.objective(encoder.dim, settings, seed, processes).to(device)
        self.optimiser = make_optimiser(self.tower, settings)
        self.schedule = schedule(self.optimiser)
        self.average = average_of(self.tower, settings.ema)
        self.forward = self._forward()
        self.finish_batch = BatchFinish(encoder, settings.augment, seed, device)
        self._wrong_since = torch.full((), NEVER, device=device)

    def _set_mode(self) -> None:
        """Before the encoder is trained its batch normalisation stays as it is, too."""
        train_mode(self.tower, self.settings.batchnorm if self.step >= self.head_steps else "frozen")

    def _forward(self) -> Any:
        """The tower as it is called: with its gradients averaged over the processes, and compiled if so wished."""
        forward: Any = self.tower
        if self.processes.count > 1:
            forward = nn.parallel.DistributedDataParallel(
                forward,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                broadcast_buffers=self.settings.batchnorm == "live",
            )
        return torch.compile(forward) if self.settings.compile else forward

    def take_step(self, group: list[Batch], epoch: int) -> Step:
        """One optimiser step from the `gradient_acc` batches of this process. It does not wait for the device."""
        tunes = self.step >= self.head_steps
        turn = self.objective.begin([targets for _, targets in group], self.step)
        shown = [self._backward(number, group, turn, tunes=tunes) for number in range(len(group))]
        losses, cosines = (torch.stack(values).mean() for values in zip(*shown, strict=True))
        group_of_all = self.optimiser.param_groups[0]
        lr, betas = (group_of_all["lr"], group_of_all["betas"]) if tunes else (self.settings.lr, HEAD_BETAS)
        self.step += 1
        lr_encoder, lr_centres = lr if tunes else 0.0, lr * self.settings.lr_pfc_weight
        taken = Step(self.step, epoch, losses, cosines, turn.positive_share, lr_encoder, lr_centres)
        this = torch.full_like(self._wrong_since, self.step)
        self._wrong_since = torch.where(taken.loss.isfinite(), self._wrong_since, self._wrong_since.minimum(this))
        turn.update(step=self.step, lr=taken.lr_centres, betas=betas)
        if tunes:
            self._tune()
        if self.step == self.head_steps:
            self._set_mode()
        return taken

    def _tune(self) -> None:
        """One optimiser step of the encoder."""
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.tower)

    def _backward(self, number: int, group: list[Batch], turn: Turn, *, tunes: bool) -> tuple[Tensor, Tensor]:
        """Adds the gradients of one of the step's batches; its loss, and the mean cosine to its targets."""
        read, processes, precision = group[number][0], self.processes, self.settings.precision
        last = number == len(group) - 1
        with nullcontext() if last or processes.count == 1 else self.forward.no_sync():
            # Dropout and stochastic depth draw from torch's own stream.
            with seeded(self.seed, self.step, number, processes.rank):
                if self.device.type == "cuda":
                    torch.cuda.manual_seed(torch.initial_seed())
                batch = self.finish_batch(read)
                with encoder_precision(self.device, precision), torch.set_grad_enabled(tunes):
                    embeddings = self.forward(batch)
            # The objective sees the embeddings of all processes, in float32, and gives each its own gradient back.
            everyones = processes.gather(embeddings.detach().float()).requires_grad_(tunes)
            loss, cosine = turn.loss(number, everyones)
            (loss / len(group)).backward()
            if everyones.grad is not None:
                gradient = processes.own(processes.sum(everyones.grad))
                # Times their number, since the processes' gradients are averaged.
                with encoder_precision(self.device, precision, backward=True):
                    embeddings.backward((gradient * processes.count).to(embeddings.dtype))
        return loss.detach(), cosine

    def first_without_loss(self) -> int:
        """The first step whose loss was not a finite number, 0 where there is none; waits for the device."""
        wrong = int(self._wrong_since)
        return 0 if wrong == NEVER else wrong

    def finish(self) -> None:
        """Leaves the tower as it is to be used: with the averaged weights, if there is an average."""
        if self.average is not None:
            self.tower.load_state_dict(self.average.module.state_dict())
        self.tower.to(memory_format=torch.contiguous_format).eval()

    def tensors(self) -> dict[str, Tensor]:
        found = {f"encoder.{name}": tensor for name, tensor in self.tower.state_dict().items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            found |= {f"moments.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        if self.average is not None:
            found |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return found | {f"objective.{name}": tensor for name, tensor in self.objective.tensors().items()}

    def numbers(self) -> dict[str, Any]:
        schedule = {name: value for name, value in self.schedule.state_dict().items() if is_plain(value)}
        return {"groups": self.optimiser.state_dict()["param_groups"], "schedule": schedule}

    def restore(self, step: int, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        def below(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.step = step
        self._set_mode()
        self.tower.load_state_dict(below("encoder."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in below("moments.").items():
            number, _, of_what = name.partition(".")
            moments.setdefault(int(number), {})[of_what] = value
        groups = [group | {"betas": tuple(group["betas"])} for group in numbers["groups"]]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        # Sums are rounded alike only if the moments lie in memory as their parameters do.
        for parameter, of_one in self.optimiser.state.items():
            alike = {name: value for name, value in of_one.items() if value.shape == parameter.shape}
            of_one |= {name: torch.empty_like(parameter).copy_(value) for name, value in alike.items()}
        self.schedule.load_state_dict(dict(numbers["schedule"]))
        if self.average is not None:
            self.average.load_state_dict(below("average."))
        self.objective.restore(below("objective."))


def is_plain(value: Any) -> bool:
    """Whether JSON gives the value back as it was."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def check_feasible(n_images: int, settings: Train, processes: int = 1) -> int:
    """The number of the encoder's optimiser steps, or one clear sentence why there can be none.

    Raises:
        ConfigError: the settings leave no step, or too few for the schedule.
    """
    together = settings.batch_size * processes
    if n_images < together:
        each = f" on each of {processes} GPUs" if processes > 1 else ""
        raise ConfigError(
            f"training: {n_images} images are fewer than one batch; lower train.batch_size "
            f"(now {settings.batch_size}{each})."
        )
    batches_an_epoch = n_images // together
    total = settings.epochs * (batches_an_epoch // settings.gradient_acc)
    if total == 0:
        raise ConfigError(
            f"training: an epoch has {batches_an_epoch} batches, fewer than train.gradient_acc "
            f"(now {settings.gradient_acc}); lower it."
        )
    if settings.pct_start * total <= 1:
        raise ConfigError(
            f"training: {total} steps are too few for a warm-up of {settings.pct_start:.0%} of them; raise train.epochs "
            f"(now {settings.epochs}) or lower train.batch_size (now {settings.batch_size})."
        )
    return total


def picture_groups(
    encoder: Encoder,
    store: PictureStore,
    targets: Targets,
    settings: Train,
    training: Training,
    *,
    workers: int,
) -> Iterator[list[Batch]]:
    """The batches of this process, in groups of `gradient_acc`, from the step that the training has reached."""
    batches = EpochBatches(
        len(targets.rows),
        settings.batch_size,
        settings.head_epochs + settings.epochs,
        training.seed,
        gradient_acc=settings.gradient_acc,
        start=training.step * settings.gradient_acc,
        processes=training.processes,
    )
    pictures = TrainingPictures(store, targets.image_ids, encoder, settings.augment, training.seed)
    loader = training_loader(pictures, batches, workers=workers, pin=training.device.type == "cuda")
    # The targets of all processes are known to each: none has to be asked.
    everyones = (torch.from_numpy(targets.rows[positions]) for _, positions in batches.everyones())
    return groups_of(zip(loader, everyones, strict=True), settings.gradient_acc)


def groups_of(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    ordered = iter(batches)
    while group := list(islice(ordered, size)):
        yield group


def train_mode(tower: nn.Module, batchnorm: str) -> None:
    """Training mode; with `frozen`, batch normalisation keeps its running statistics and uses them."""
    tower.train()
    if batchnorm == "frozen":
        for module in tower.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


@contextmanager
def encoder_precision(device: torch.device, precision: str, *, backward: bool = False) -> Iterator[None]:
    """How the encoder computes: `auto` is bf16 autocast on CUDA, and TF32 for what stays float32 there.

    `tf32` is TF32 without autocast, `fp32` neither. The head is always float32. Autocast is for the forward pass: the
    backward pass follows it by itself.
    """
    if device.type != "cuda" or precision == "fp32":
        yield
        return
    autocast: AbstractContextManager = nullcontext()
    if precision == "auto" and not backward:
        autocast = torch.autocast("cuda", torch.bfloat16)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with autocast:
            yield
    finally:
        torch.set_float32_matmul_precision(before)
