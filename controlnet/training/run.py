"""Run one stage: compose its configuration, train, show, write."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger
from torch.utils.data import DataLoader

from controlnet.training.ema import EMACallback
from controlnet.training.pace import Pace
from controlnet.training.stages import Stage, make_stage
from controlnet.training.store import SUMMARY, Summary, read_summary, write_stage

log = logging.getLogger(__name__)

STAGES = ("vae", "base", "control")


def read_config(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a stage's configuration with `key=value` overrides, one of which names the stage.

    Raises:
        ValueError: if `stage=` is missing or unknown; hydra's own errors for the other overrides.
    """
    names = [value.removeprefix("stage=") for value in overrides if value.startswith("stage=")]
    if len(names) != 1 or names[0] not in STAGES:
        raise ValueError(f"stage is {names}: give one stage=, of {', '.join(STAGES)}")
    rest = [value for value in overrides if not value.startswith("stage=")]
    with initialize_config_dir(str(Path(__file__).parent / "conf"), version_base="1.3"):
        plain = OmegaConf.to_container(compose(names[0], rest), resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


class Show(pl.Callback):
    """Write a grid of what the averaged weights do, every so many steps and at the end."""

    def __init__(self, stage: Stage, average: EMACallback, folder: Path, every: int) -> None:
        self.stage, self.average, self.folder, self.every = stage, average, folder, every
        self.metrics: dict[str, float] = {}
        self._shown = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Show when it is time."""
        step = trainer.global_step
        if trainer.is_global_zero and step % self.every == 0 and step != self._shown:
            self._shown = step
            self.show(trainer, step)

    def show(self, trainer: pl.Trainer, step: int) -> None:
        """Show now; grid and measurements go to the logger."""
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


def train(overrides: Sequence[str]) -> Path:
    """Train one stage, or go on where an interrupted one stopped, or from the weights of an unpacked bundle.

    Args:
        overrides: `stage=vae`, `stage=base` or `stage=control`, and any `key=value` of `conf/`.

    Returns:
        The stage's folder with `weights.safetensors` (averaged), `summary.json`, `grids/` and `last.ckpt`.

    Raises:
        ValueError: for an unknown stage or kind of data, or fewer pictures than a batch takes.
        FileNotFoundError: if an earlier stage is not trained yet.
    """
    config = read_config(overrides)
    # Every process draws noise and timesteps of its own; their first weights are made equal by Lightning.
    pl.seed_everything(config["seed"] + int(os.environ.get("LOCAL_RANK", "0")), verbose=False)
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    name = f"control-{config['name']}" if config["stage"] == "control" else config["stage"]
    folder = Path(config["folder"]) / name
    folder.mkdir(parents=True, exist_ok=True)

    stage = make_stage(config)
    origin = read_summary(folder).origin if (folder / SUMMARY).is_file() else ""
    average = EMACallback(config["ema"])
    pace = Pace(config["steps"], config["max_time"], config["warmup"], config["hold"], config["floor"])
    show = Show(stage, average, folder / "grids", config["show_every"])
    keep = ModelCheckpoint(folder, save_last=True, save_top_k=0, every_n_train_steps=config["save_every"])
    trainer = pl.Trainer(
        accelerator=config["accelerator"],
        devices=config["devices"],
        strategy="auto" if config["devices"] == 1 else "ddp",
        precision=config["precision"],
        max_steps=config["steps"],
        max_epochs=-1,
        accumulate_grad_batches=config["accumulate"],
        gradient_clip_val=config["clip"],
        callbacks=[average, pace, show, keep, *([TQDMProgressBar(config["log_every"])] if config["progress"] else [])],
        logger=_logger(config, folder, name) or False,
        log_every_n_steps=config["log_every"],
        enable_progress_bar=config["progress"],
        enable_model_summary=False,
    )
    loader = DataLoader(
        stage.data, config["batch"], shuffle=True, drop_last=True, num_workers=config["workers"], pin_memory=False
    )
    if len(loader) < trainer.world_size:
        raise ValueError(
            f"data.train has {len(loader)} whole batches of {config['batch']} for {trainer.world_size} processes, "
            "so nothing would be trained: choose a smaller batch or give more pictures"
        )
    last = folder / "last.ckpt"
    trainer.fit(stage.module, loader, ckpt_path=str(last) if last.is_file() else None)
    trainer.save_checkpoint(last)  # the one kept on the way may be older, and a further run would repeat its steps

    if not trainer.is_global_zero:
        return folder
    stage.module.to(trainer.strategy.root_device)  # Lightning takes it back to the CPU, where a grid can take an hour
    show.show(trainer, trainer.global_step)
    assert average.average is not None
    with average.average.applied(stage.module):
        summary = Summary(stage.finish(), trainer.global_step, pace.seconds, show.metrics, origin)
        write_stage(folder, {part: net.state_dict() for part, net in stage.modules.items()}, summary)
    log.info("%s: %d steps in %.0f s, %s", name, summary.steps, summary.seconds, summary.metrics)
    return folder


def _logger(config: dict[str, Any], folder: Path, name: str) -> Logger | None:
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return None  # only the first process logs
    if not config["mlflow"]:
        return CSVLogger(folder, name="", version="")
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
    return logger
