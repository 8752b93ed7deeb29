"""Run one stage: compose its configuration, train, show, write."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger
from rich.console import Console
from torch.utils.data import DataLoader

from controlnet.evaluation.tracking import send_nothing_home
from controlnet.spinning import Spinning
from controlnet.training.checkpoints import LAST, Keep, WholeFiles
from controlnet.training.config import Config, read_config
from controlnet.training.draws import Drawn, Draws, StepSeed
from controlnet.training.ema import EMACallback
from controlnet.training.interrupted import Interrupted
from controlnet.training.pace import Pace
from controlnet.training.progress import ProgressBar
from controlnet.training.report import report
from controlnet.training.stages import Stage, make_stage
from controlnet.training.store import SUMMARY, WEIGHTS, Summary, read_summary, write_stage

PLACES = ("folder", "bundle", "experiment", "mlflow", "progress", "stage")
"""Keys that say where a training ran, not what it learned from."""

QUIET = ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric")
"""Loggers that recommend services, and tell of what the report says."""


class Spin(pl.Callback):
    """Have threads spin at barriers as the machine allows."""

    def __init__(self) -> None:
        self._spinning = Spinning()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Look after each step."""
        if pl_module.device.type == "cpu":
            self._spinning.look()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """End."""
        self._spinning.close()


class Show(pl.Callback):
    """Write a grid of what the averaged weights do, every so many steps and at the end."""

    def __init__(self, stage: Stage, average: EMACallback, folder: Path, every: int) -> None:
        self.stage, self.average, self.folder, self.every = stage, average, folder, every
        self.metrics: dict[str, float] = {}
        self.shown = -1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Show when it is time."""
        step = trainer.global_step
        if trainer.is_global_zero and step % self.every == 0 and step != self.shown:
            self.show(trainer, step)

    def show(self, trainer: pl.Trainer, step: int) -> None:
        """Show now; grid and measurements go to the logger."""
        self.shown = step
        assert self.average.average is not None
        with self.average.average.applied(self.stage.module):
            grid, self.metrics = self.stage.show()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{step:06d}.png"
        cv2.imwrite(str(file), cv2.cvtColor(grid, cv2.COLOR_RGB2BGR))
        for logger in trainer.loggers:
            logger.log_metrics(self.metrics, step)
            if isinstance(logger, MLFlowLogger) and logger.run_id:
                logger.experiment.log_artifact(logger.run_id, str(file), "grids")


def train(overrides: Sequence[str], console: Console | None = None) -> Path:
    """Train one stage, or go on where an interrupted one stopped, or from the weights of an unpacked bundle.

    One that was interrupted and went on ends with the weights of one that was not, to the bit, on one kind of machine
    and as long as `max_time` does not decide.

    Args:
        overrides: `stage=vae`, `stage=base` or `stage=control`, and any `key=value` of `conf/`.
        console: where progress, and what comes next, are told.

    Returns:
        The stage's folder with `weights.safetensors` (averaged), `summary.json`, `grids/` and `last.ckpt`.

    Raises:
        ValueError: for a fault of the configuration or the pictures, a checkpoint that is damaged or of something else,
            or fewer pictures than a batch takes.
        FileNotFoundError: if an earlier stage is not trained yet.
        Interrupted: SIGINT or SIGTERM came; the step that was under way is finished and kept.
    """
    config = read_config(overrides)
    first = os.environ.get("LOCAL_RANK", "0") == "0"  # of the processes: it speaks for all
    with _quiet():
        return _train(config, console if console and first else Console(quiet=True))


def _train(config: Config, console: Console) -> Path:
    # Every process draws noise and timesteps of its own; their first weights are made equal by Lightning.
    pl.seed_everything(config["seed"] + int(os.environ.get("LOCAL_RANK", "0")), verbose=False)
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    name = f"control-{config['name']}" if config["stage"] == "control" else config["stage"]
    folder = Path(config["folder"]) / name
    folder.mkdir(parents=True, exist_ok=True)

    stage = make_stage(config)
    before = read_summary(folder) if (folder / SUMMARY).is_file() else None
    average = EMACallback(config["ema"])
    pace = Pace(config["steps"], config["max_time"], config["warmup"], config["hold"], config["floor"])
    show = Show(stage, average, folder / "grids", config["show_every"])
    keep = Keep(folder / LAST, config["save_every"])
    bar = [ProgressBar(console, config["steps"], config["log_every"])] if config["progress"] else []
    try:
        trainer = pl.Trainer(
            accelerator=config["accelerator"],
            devices=config["devices"],
            strategy="auto" if config["devices"] == 1 else "ddp",
            precision=config["precision"],
            max_steps=config["steps"],
            max_epochs=-1,
            accumulate_grad_batches=config["accumulate"],
            gradient_clip_val=config["clip"],
            callbacks=[StepSeed(config["seed"]), average, pace, Spin(), show, keep, *bar],
            plugins=[WholeFiles()],
            logger=_logger(config, folder, name) or False,
            log_every_n_steps=min(config["log_every"], config["steps"]),
            use_distributed_sampler=False,  # `Draws` shares out
            enable_checkpointing=False,  # `Keep` does it
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:  # an accelerator that is not there
        raise ValueError(str(error)) from error
    draws = Draws(
        len(stage.data),  # type: ignore[arg-type]
        config["batch"],
        config["seed"],
        lambda: trainer.global_step * config["accumulate"],
        trainer.global_rank,
        trainer.world_size,
    )
    loader = DataLoader(
        Drawn(stage.data), batch_sampler=draws, num_workers=config["workers"], worker_init_fn=_leave_interrupts
    )
    last = folder / LAST
    try:
        trainer.fit(stage.module, loader, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except SystemExit as error:  # Lightning's answer to an interrupt that does not wait for the step's end
        raise KeyboardInterrupt from error
    trainer.save_checkpoint(last)  # the one kept on the way may be older, and a further run would repeat its steps
    if not trainer.is_global_zero:
        return folder
    if keep.signal is not None:
        raise Interrupted(_stopped(trainer.global_step, config["steps"], folder, before), keep.signal)
    stage.module.to(trainer.strategy.root_device)  # Lightning takes it back to the CPU, where a grid can take an hour
    if show.shown != trainer.global_step:
        show.show(trainer, trainer.global_step)
    metrics = dict(show.metrics)
    if "loss" in trainer.callback_metrics:
        metrics["loss"] = float(trainer.callback_metrics["loss"])
    elif before and "loss" in before.metrics:  # no step was left to do
        metrics["loss"] = before.metrics["loss"]
    settings = {key: value for key, value in config.items() if key not in (*PLACES, "data", "architecture")}
    settings["data"] = {key: value for key, value in config["data"].items() if key not in ("train", "held_out")}
    record = {**stage.record, "settings": settings, "steps": trainer.global_step, "seconds": round(pace.seconds)}
    assert average.average is not None
    with average.average.applied(stage.module):
        origin = before.origin if before else ""
        summary = Summary(stage.finish(), trainer.global_step, pace.seconds, metrics, origin, record)
        write_stage(folder, {part: net.state_dict() for part, net in stage.modules.items()}, summary)
    console.print(report(config, folder, summary), markup=False, highlight=False, soft_wrap=True)
    return folder


def _stopped(step: int, steps: int, folder: Path, before: Summary | None) -> str:
    """What an interrupted run leaves, and how to go on."""
    told = (
        f"Stopped after step {step} of {steps}, which {folder / LAST} holds: the same command again goes on from there."
    )
    return told if before is None else f"{told} {folder / WEIGHTS} is still of step {before.steps}."


def _leave_interrupts(worker: int) -> None:
    """An interrupt of the terminal goes to all processes; the first one decides when a training ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep advertisements, and warnings of what is meant, away from who trains."""
    loggers = [logging.getLogger(name) for name in QUIET]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found .* in eval mode", UserWarning)  # the base is locked
        warnings.filterwarnings("ignore", "Experiment logs directory .* exists", UserWarning)  # it holds the checkpoint
        warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`", UserWarning)  # one of version 0.1
        warnings.filterwarnings(
            "ignore", ".*does not have many workers", UserWarning
        )  # pictures are cheap, latents kept
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec", FutureWarning)  # Lightning's own affair
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _logger(config: Config, folder: Path, name: str) -> Logger | None:
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return None  # only the first process logs
    if not config["mlflow"]:
        losses = folder / "metrics.csv"
        if losses.is_file():  # the logger would delete what an earlier run measured
            earlier = len(list(folder.glob("metrics-*.csv"))) + 1
            losses.rename(folder / f"metrics-{earlier}.csv")
        return CSVLogger(folder, name="", version="")
    send_nothing_home()
    known = folder / "mlflow-run"
    logger = MLFlowLogger(
        experiment_name=config["experiment"],
        run_name=name,
        tracking_uri=config["mlflow"],
        run_id=known.read_text() if known.is_file() else None,
    )
    if not known.is_file():
        logger.log_hyperparams({key: value for key, value in config.items() if key != "architecture"})
    known.write_text(str(logger.run_id))
    # Without it MLflow shows the page of an experiment with language models.
    logger.experiment.set_experiment_tag(logger.experiment_id, "mlflow.experimentKind", "custom_model_development")
    return logger
