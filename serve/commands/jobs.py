"""`cnserve jobs`: what a tenant does, from the terminal, through the API and `serve.client`."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from serve.client import Client, ClientError, Control, Job, Parameters, Progress, Retries, State, Unreachable
from serve.commands.edge import settings
from serve.config import Settings
from serve.errors import ServeError, Unauthenticated
from serve.tenancy.demo import kept_key

app = typer.Typer(no_args_is_help=True)
console = Console()

_BEGINNING = re.compile(r"job_[0-9a-f]{8,31}", re.ASCII)
LOOKED_THROUGH = 200
"""Newest jobs among which the beginning of an id is looked for."""

BRIEF, PATIENT = Retries(attempts=3), Retries()
"""Who asks is told within seconds that nobody answers; who waits for a job's end waits for a restart, too."""

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, job_...; its beginning is enough where only one job has it.")
]


@app.command("list")
def list_jobs(
    state: Annotated[list[str] | None, typer.Option(help="State of the jobs to show; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of jobs.")] = 20,
) -> None:
    """Show jobs, the newest first."""
    # Of a line that is too short the prompt gives way: an id that is cut can't be pasted.
    whole = [Column(name, no_wrap=True) for name in ("job", "state", "progress", "created")]
    table = Table(*whole, "prompt", box=None, pad_edge=False)
    with _client() as client:
        for job in client.jobs(_states(state or []), limit):
            text = str(job.parameters.get("prompt", ""))[:48]
            prompt = Text(text, no_wrap=True, overflow="ellipsis")  # as it is: [brackets] are a prompt's, too
            table.add_row(job.id, job.state, _progress(job.progress), _time(job.created_at), prompt)
    console.print(table)


@app.command()
def show(job: JobId) -> None:
    """Print all there is to know of a job, as JSON."""
    with _client() as client:
        console.print_json(client.job(_whole(client, job)).model_dump_json())


@app.command()
def watch(job: JobId) -> None:
    """Wait for a job's end with a bar; succeed if the job did."""
    with _client(PATIENT) as client:
        _told(client.wait(_whole(client, job), progress=True))


@app.command()
def cancel(job: JobId) -> None:
    """Ask a job to stop."""
    with _client() as client:
        found = client.cancel(_whole(client, job))
    console.print(f"{found.id}  {found.state if found.terminal else 'stopping'}")


@app.command()
def download(
    job: JobId,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder to write to; one of the job's name when absent.")
    ] = None,
) -> None:
    """Write a job's images, control maps and manifest.json."""
    with _client() as client:
        whole = _whole(client, job)
        files = client.download(whole, folder or Path(whole))
    for file in files:
        console.print(str(file), markup=False, soft_wrap=True)


@app.command()
def submit(
    prompt: Annotated[str, typer.Argument(help="Words for what the images show.")],
    control: Annotated[
        list[str] | None,
        typer.Option("--control", "-c", help="Control and picture, TYPE=PICTURE: its map is made; may be repeated."),
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option("--map", "-m", help="Control and ready map, TYPE=MAP, a picture or map_...; may be repeated."),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", "--n", help="Number of images.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of sampling steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first image; the next ones count up.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Short side in pixels.")] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Low priority: after the team's other jobs, up to nine in a row.")
    ] = False,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds after which the job is not wanted; refused where that can't be met.")
    ] = None,
    webhook: Annotated[str | None, typer.Option(help="URL that is told of the job's end.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key: the same key is the same job.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the job's end.")] = False,
) -> None:
    """Submit a job and print its id, alone, for scripts."""
    controls = [Control(kind, image=picture) for kind, picture in _pairs(control, "--control")]
    controls += [Control(kind, map=picture) for kind, picture in _pairs(map, "--map")]
    given: dict[str, Any] = {"n": n, "steps": steps, "seed": seed, "resolution": resolution, "deadline_s": deadline}
    given["priority"] = "batch" if batch else None
    parameters: Parameters = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    with _client(PATIENT if wait else BRIEF) as client:
        job = client.submit(prompt, controls=controls, webhook=webhook, idempotency_key=key, **parameters)
        console.print(job.id)
        if wait:
            _told(client.wait(job.id, progress=True))


@contextlib.contextmanager
def _client(retries: Retries | None = None) -> Iterator[Client]:
    """What goes wrong is told as a sentence, not as a traceback."""
    found = settings()
    try:
        with Client(found.api_url, _key(found), retries=retries or BRIEF) as client:
            yield client
    except Unauthenticated as error:
        notes = getattr(error, "__notes__", ())
        _fail(error, [error.title, *notes, "set CN_KEY to a key of your team: `cnserve keys create TENANT`"])
    except Unreachable as error:
        _fail(error, ["start the platform with `cnserve up`, or set CN_URL to where it is"])
    except ServeError as error:
        _fail(error, [error.title, f"field {error.field}" if error.field else "", *getattr(error, "__notes__", ())])
    except (ClientError, OSError, ValueError) as error:
        _fail(error, [])


def _whole(client: Client, job: str) -> str:
    """The id that a beginning stands for, among the jobs of late; what is no beginning of one stays as it is."""
    if not _BEGINNING.fullmatch(job):
        return job
    ids = [found.id for found in client.jobs(limit=LOOKED_THROUGH) if found.id.startswith(job)]
    if len(ids) > 1:
        raise ValueError(f"{job} is the beginning of {len(ids)} jobs: write more of the id")
    return ids[0] if ids else job


def _key(settings: Settings) -> str | None:
    """That of the settings; for the API of this machine also the one that `cnserve up` keeps."""
    if settings.key is not None:
        return settings.key.get_secret_value()
    return kept_key(settings.data_dir) if settings.url is None else None


def _told(job: Job) -> None:
    """Succeed as the job did, and tell its warnings."""
    if job.failure is not None:
        raise job.failure
    for warned in job.warnings:
        console.print(f"{warned.field}: {warned.detail}", style="yellow", markup=False, soft_wrap=True)


def _fail(error: Exception, about: list[str]) -> NoReturn:
    more = ", ".join(part for part in about if part)
    console.print(f"{error}{f' ({more})' if more else ''}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1) from error


def _states(texts: list[str]) -> list[State]:
    states: tuple[State, ...] = get_args(State)
    for text in texts:
        if text not in states:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(states)}.", param_hint="--state")
    return [state for state in states if state in texts]


def _pairs(texts: list[str] | None, option: str) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        kind, equals, picture = text.partition("=")
        if not (kind and equals and picture):
            raise typer.BadParameter(f"{text!r} is not TYPE=PICTURE.", param_hint=option)
        yield kind, picture


def _progress(progress: Progress | None) -> str:
    return "" if progress is None else f"{sum(progress.steps)}/{progress.of * len(progress.steps)}"


def _time(epoch_s: float) -> str:
    return (
        f"{datetime.datetime.fromtimestamp(epoch_s):%m-%d %H:%M}"  # jobs are kept for days, and a line has 80 columns
    )
