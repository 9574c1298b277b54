"""mmengine's Runner and our hooks: it resumes bit for bit, runs in bf16 on any device, and logs to a file alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from bench.convert.checkpoint_file import read_checkpoint
from bench.convert.proof import load_strictly
from bench.convert.trunk import Trunk
from bench.errors import BadInput, Interrupted, StageFailed
from bench.progress import Progress
from bench.randomness import reseed
from bench.stages.curve import Curve
from bench.stages.load_proof import LoadProof
from bench.stages.segmentation.logs import only_informs
from bench.timing_gaps import note_gap
from bench.train.background import Saving, unwritten
from bench.train.checkpoint import LAST, put_back, read_newest
from bench.train.distributed import Ranks
from bench.train.signals import StopRequest
from bench.waiting import Waits

CHECKPOINT = LAST


class QuietRunner(Runner):
    """A Runner that logs to a file alone; what matters on the screen is shown as progress."""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """Build mmengine's logger without its handler for the screen."""
        logger = super().build_logger(log_level, log_file or str(Path(self.work_dir) / "mmengine.log"), **kwargs)
        logger.handlers = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        for handler in logger.handlers:
            handler.handleError = only_informs
        return logger


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """bf16 autocast on any device. mmengine's own wants a GPU, and scales losses, which bf16 does without."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Cast the forward pass."""
        with super().optim_context(model), torch.autocast(get_device().split(":")[0], torch.bfloat16):
            yield


class LoadTrunk(Hook):
    """Puts the trunk into the backbone and proves it, or goes on from a checkpoint, once the model has been made."""

    priority = "VERY_LOW"

    def __init__(
        self,
        trunk: Trunk,
        seed: int,
        file: Path,
        skipped: CollectSkipped,
        prove: Callable[[Any, dict[str, Any]], LoadProof],
    ) -> None:
        self.trunk, self.seed, self.file, self.skipped = trunk, seed, file, skipped
        self.prove = prove  # of a model and its data sets
        self.matched = 0

    def before_run(self, _runner: Any) -> None:
        """Make the heads' initial values a function of the seed alone, the same for every trunk."""
        reseed(self.seed, "segmentation", "init")

    def before_train(self, runner: Any) -> None:
        """Load the trunk strictly and prove by hash that it arrived, or restore the checkpoint."""
        model = plain_model(runner.model)
        match = load_strictly(model.backbone, self.trunk.state, "the segmentation backbone")
        self.matched = match.matched
        runner.logger.info(f"trunk {self.trunk.hash}: {match.counts} in the segmentation backbone")
        datasets = {"training": runner.train_dataloader.dataset, "validation": runner.val_dataloader.dataset}
        proof = self.prove(model, datasets)
        runner.logger.info(proof.words)
        if self.skipped.ranks.first:
            print(proof.words, flush=True)
        for note in model.notes:
            runner.logger.info(note)
        if self.file.is_file():
            self._restore(runner, model)

    def _restore(self, runner: Any, model: nn.Module) -> None:
        ranks = self.skipped.ranks
        content, used = read_newest(self.file, read_checkpoint, say=ranks.first)
        if not isinstance(content, dict) or content.get("trunk_hash") != self.trunk.hash:
            raise BadInput(f"{self.file} was fine-tuned from another trunk; delete it to start from this one.")
        model.load_state_dict(content["model"], strict=True)
        runner.optim_wrapper.load_state_dict(content["optimizer"])
        for scheduler, state in zip(runner.param_schedulers, content["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        self.skipped.names.update(content["skipped"])
        runner.train_loop._iter = content["iteration"]
        note_gap(f"{content['iteration']} of {runner.max_iters} iterations")
        runner.optim_wrapper.initialize_count_status(runner.model, runner.iter, runner.max_iters)
        ranks.sums(0)  # returns when all processes have read
        if ranks.first:
            put_back(self.file, used)


class CollectSkipped(Hook):
    """Remembers which images could not be read and were replaced."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.names: set[str] = set()

    def after_train_iter(self, _runner: Any, data_batch: Any, **_: Any) -> None:
        """Note those of one batch."""
        for sample in data_batch["data_samples"]:
            self.names.update(sample.metainfo.get("skipped", []))

    def everywhere(self) -> list[str]:
        """Return the names that any process noted; all processes must ask."""
        of_ranks = [self.names] * self.ranks.world
        if self.ranks.world > 1:
            dist.all_gather_object(of_ranks, self.names, group=self.ranks.control)
        return sorted(set().union(*of_ranks))


class SeedIterations(Hook):
    """Seeds what an iteration draws (dropout) by (seed, iteration, process), so that none depends on those before."""

    def __init__(self, seed: int, rank: int) -> None:
        self.seed, self.rank = seed, rank

    def before_train_iter(self, _runner: Any, batch_idx: int, **_: Any) -> None:
        """Reseed all generators."""
        reseed(self.seed, "segmentation", "step", batch_idx, self.rank)


class SaveCheckpoint(Saving, Hook):
    """Writes the newest state every so many iterations, at the end, and when asked to stop; never one with NaN.

    A thread writes it while validation, which follows, goes on.
    """

    priority = "LOWEST"  # after the learning rate of the next iteration has been set

    def __init__(
        self, file: Path, every: int, trunk_hash: str, ranks: Ranks, stop: StopRequest, skipped: CollectSkipped
    ) -> None:
        super().__init__(ranks)
        self.file, self.every, self.trunk_hash, self.stop, self.skipped = file, every, trunk_hash, stop, skipped

    def after_train_iter(self, runner: Any, batch_idx: int, outputs: Any, **_: Any) -> None:
        """Check the loss, then write if it is time."""
        done = batch_idx + 1
        stop = self.ranks.sums(int(self.stop.asked))[0] > 0  # all processes stop after the same iteration
        due = stop or done % self.every == 0 or done == runner.max_iters
        if due or done % 10 == 0 or done < 10:  # on a GPU, looking at the loss waits for it
            loss = outputs["loss"].item()
            if not torch.isfinite(torch.tensor(loss)):
                raise StageFailed(f"The loss became {loss} at iteration {done}; lower lr. {self._last_good()}")
        if due:
            self._write(runner, done)
        if stop:
            self.finish_writing()
            raise Interrupted(f"Stopped after iteration {done} of {runner.max_iters}. {self._last_good()}")

    def after_val_iter(self, _runner: Any, **_: Any) -> None:
        """Validation always follows a checkpoint, so it can be left at once."""
        if self.stop.asked and self.ranks.world == 1:
            self.finish_writing()
            raise Interrupted(f"Stopped while validating. {self._last_good()}")

    def after_train(self, _runner: Any) -> None:
        """A run whose last checkpoint could not be written has not ended well."""
        self.finish_writing()

    def _write(self, runner: Any, done: int) -> None:
        self.finish_writing()
        model = plain_model(runner.model)
        broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
        if broken:
            raise StageFailed(f"{broken[0]} became nan or inf before iteration {done}; lower lr. {self._last_good()}")
        skipped = self.skipped.everywhere()
        if self.ranks.first:
            content = {
                "iteration": done,
                "skipped": skipped,
                "trunk_hash": self.trunk_hash,
                "model": model.state_dict(),
                "optimizer": runner.optim_wrapper.state_dict(),
                "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
            }
            self.writer.start({self.file: content})

    def explain(self, error: StageFailed) -> str:
        """Return the error, and which checkpoint stays."""
        return unwritten(error, self.file.parent, f". {self._last_good()}")

    def _last_good(self) -> str:
        """What stays if the run ends now, which waits for what is being written."""
        self.wait()
        return f"The last checkpoint is {self.file}." if self.file.is_file() else "No checkpoint was written yet."


class ReportProgress(Hook):
    """Shows progress and keeps the newest scores."""

    priority = "LOWEST"  # after a checkpoint has been restored, so that progress starts there

    def __init__(self, title: str, stack: ExitStack, stop: StopRequest, curve: Curve) -> None:
        self.title, self.stack = title, stack  # the stack ends the progress, whatever happens
        self.curve = curve  # of the scores
        self.stop = stop  # which is announced here
        self.progress: Progress | None = None  # None where another process shows it
        self.waits = Waits()
        self.scores: dict[str, Any] = {}
        self.scored_at = -1

    def before_train(self, runner: Any) -> None:
        """Start the progress where training starts."""
        self.waits = Waits()
        if runner.rank == 0:
            self.curve.start(runner.iter)
            progress = Progress(self.title, runner.max_iters, "iterations", done=runner.iter)
            self.progress = self.stack.enter_context(progress)
            self.stop.announce = progress.say_stopping

    def before_train_iter(self, _runner: Any, **_: Any) -> None:
        """Note how long the batch was waited for."""
        self.waits.until_now(waiting=True)

    def before_val_iter(self, _runner: Any, **_: Any) -> None:
        """Note how long the batch was waited for."""
        self.waits.until_now(waiting=True)

    def before_val(self, _runner: Any) -> None:
        """Do not take what goes before validation for waiting."""
        self.waits.until_now(waiting=False)

    def after_train_iter(self, _runner: Any, batch_idx: int, outputs: Any, **_: Any) -> None:
        """Count one iteration."""
        if self.progress is not None:
            fields = {"loss": outputs["loss"].item()} if batch_idx % 10 == 0 or batch_idx < 10 else {}
            self.progress.update(1, **fields, **self.waits.shown())
        self.waits.until_now(waiting=False)

    def after_val_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
        """Show how far validation is, without counting it as training."""
        if self.progress is not None:
            self.progress.update(0, validating=f"{batch_idx + 1}/{len(runner.val_dataloader)}", **self.waits.shown())
        self.waits.until_now(waiting=False)

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Keep the scores, and the iteration that they belong to."""
        self.scores, self.scored_at = dict(metrics or {}), runner.iter
        self.curve.add(runner.iter, {f"{name.lower()}_percent": self.scores[name] for name in ("aAcc", "mIoU", "mAcc")})
        self.waits.until_now(waiting=False)
        if self.progress is not None:
            self.progress.update(0, validating="done", miou=self.scores["mIoU"])


def plain_model(model: nn.Module) -> Any:
    """Return the model inside of its wrapper for several processes."""
    return getattr(model, "module", model)
