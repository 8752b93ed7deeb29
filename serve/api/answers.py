"""A finished job as JSON, as one PNG, or as a zip."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anyio import to_thread
from fastapi import Response
from fastapi.responses import JSONResponse

from serve.api.context import Context
from serve.api.descriptions import parameters
from serve.errors import Gone, Internal, NotAcceptable, NotFound
from serve.jobs.store import Job, JobResult, StoredImage, StoredMap

JSON, PNG, ZIP = "application/json", "image/png", "application/zip"


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that succeeded, with the bytes of what it made."""

    job: Job
    result: JobResult
    images: Sequence[bytes]
    maps: Sequence[bytes]

    @classmethod
    async def read(cls, context: Context, job: Job) -> Finished:
        """Fetch a job's artifacts.

        Raises:
            Gone: They have expired.
        """
        if job.expired_at is not None:
            raise Gone(f"The result of the job {job.id} has expired.")
        if job.result is None:
            raise Internal(f"The job {job.id} succeeded without a result.")
        images = [await stored(context, job, image.key) for image in job.result.images]
        maps = [await stored(context, job, control_map.key) for control_map in job.result.control_maps]
        return cls(job, job.result, images, maps)

    @property
    def model(self) -> dict[str, str]:
        """Which weights made it."""
        model = self.job.model
        return {"name": model.name, "version": model.version, "digest": model.digest}

    def map_names(self) -> list[str]:
        """A name in a zip for each map: the control's, with a number where it has several."""
        types = [control_map.type for control_map in self.result.control_maps]
        many, seen, names = Counter(types), Counter[str](), []
        for kind in types:
            names.append(f"control/{kind}.png" if many[kind] == 1 else f"control/{kind}_{seen[kind]}.png")
            seen[kind] += 1
        return names


async def stored(context: Context, job: Job, key: str) -> bytes:
    """An artifact that a job's row named when it was read.

    Raises:
        Gone: It has expired since.
        NotFound: It is not there, or damaged.
    """
    try:
        return await context.artifacts.get(key, job.tenant)
    except NotFound:
        now = await to_thread.run_sync(context.store.get, job.id)
        if now is None or now.expired_at is None:
            raise
        raise Gone(f"The result of the job {job.id} has expired.") from None


def choose(accept: str | None, offers: Sequence[str] = (JSON, PNG, ZIP)) -> str:
    """The media type that an Accept header (RFC 9110, section 12.5.1) likes best; the first where it doesn't care.

    Raises:
        NotAcceptable: It likes none.
    """
    ranked = list(_ranges(accept or "*/*"))
    best, liking = offers[0], 0.0
    for offer in offers:
        fitting = [(_specificity(kind), q) for kind, q in ranked if kind in (offer, f"{offer.split('/')[0]}/*", "*/*")]
        quality = max(fitting)[1] if fitting else 0.0  # the most specific range decides
        if quality > liking:
            best, liking = offer, quality
    if not liking:
        raise NotAcceptable(f"The answer can be {', '.join(offers)}.", field="Accept")
    return best


def _ranges(accept: str) -> Iterable[tuple[str, float]]:
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        q = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        try:
            quality = float(q)
        except ValueError:
            continue
        if kind and 0 <= quality <= 1:
            yield kind, quality


def _specificity(kind: str) -> int:
    return 2 - kind.count("*")


def check(media: str, n: int) -> None:
    """Refuse what a job of n images can't be, before it is admitted.

    Raises:
        NotAcceptable: Several images in one PNG.
    """
    if media == PNG and n > 1:
        raise NotAcceptable(f"{n} images don't fit in one PNG: accept {ZIP} or {JSON}, or ask for one.", field="Accept")


async def render(finished: Finished, media: str) -> Response:
    """The answer, in a media type from `choose`."""
    if media == PNG:
        return one_png(finished.images[0], finished.job, {"X-Seed": str(finished.result.images[0].seed)})
    if media == ZIP:
        manifest = await to_thread.run_sync(_manifest, finished)
        return await archive(finished, "manifest.json", manifest)
    return JSONResponse(await to_thread.run_sync(_whole, finished))


def one_png(data: bytes, job: Job, about: Mapping[str, str]) -> Response:
    """A picture, with what to know of it in headers."""
    headers = {**about, "X-Job-ID": job.id, "X-Model-Digest": job.model.digest}
    if job.result is not None and job.result.warnings:
        headers["X-Warnings"] = ", ".join(dict.fromkeys(warning.code for warning in job.result.warnings))
    return Response(data, media_type=PNG, headers=headers)


async def archive(finished: Finished, name: str, description: dict[str, Any]) -> Response:
    """`image_<i>.png`, `control/<type>.png` and a description, stored without further compression."""
    files = [(f"image_{i}.png", data) for i, data in enumerate(finished.images)]
    files += zip(finished.map_names(), finished.maps, strict=True)
    files.append((name, json.dumps(description, indent=2).encode()))
    content = await to_thread.run_sync(_zip, files)
    headers = {
        "Content-Disposition": f'attachment; filename="{finished.job.id}.zip"',
        "X-Job-ID": finished.job.id,
        "X-Model-Digest": finished.job.model.digest,
    }
    return Response(content, media_type=ZIP, headers=headers)


def _zip(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)  # ZipInfo's fixed date: equal images, equal zips
    return buffer.getvalue()


def _whole(finished: Finished) -> dict[str, Any]:
    return _describe(
        finished,
        [{"b64": base64.b64encode(data).decode()} for data in finished.images],
        [{"b64": base64.b64encode(data).decode()} for data in finished.maps],
    )


def _manifest(finished: Finished) -> dict[str, Any]:
    return _describe(
        finished,
        [{"file": f"image_{i}.png"} for i in range(len(finished.images))],
        [{"file": name} for name in finished.map_names()],
    )


def _describe(finished: Finished, images: list[dict[str, str]], maps: list[dict[str, str]]) -> dict[str, Any]:
    made = [_without_key(image) for image in finished.result.images]
    steered = [_without_key(control_map) for control_map in finished.result.control_maps]
    return {
        "job": finished.job.id,
        "images": [where | what for where, what in zip(images, made, strict=True)],
        "control_maps": [what | where for where, what in zip(maps, steered, strict=True)],
        "parameters": parameters(finished.job.spec),
        "model": finished.model,
        "timings": dict(finished.result.timings),
        "warnings": [asdict(warning) for warning in finished.result.warnings],
    }


def _without_key(stored: StoredImage | StoredMap) -> dict[str, Any]:
    return {name: value for name, value in asdict(stored).items() if name != "key"}
