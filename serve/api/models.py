"""`GET /v1/models`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from controlnet.bundle import Defaults, Size
from serve.api.context import InContext

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """A model that answers requests."""

    name: str
    version: str
    digest: str = Field(description="Names the weights, whatever they are called.")
    native_size: Size = Field(description="What it was trained at, and makes by default.")
    multiple: int = Field(description="Width and height must be multiples of it.")
    context_length: int = Field(
        description="Tokens that the text encoder reads, start and end included: a prompt has two fewer, and is cut, "
        "with a warning, where it is longer."
    )
    defaults: Defaults = Field(description="What a request that leaves these out gets.")
    controls: list[str]
    licence: str
    training_data: str | dict[str, Any]
    metrics: dict[str, float]
    created: AwareDatetime


class Models(BaseModel):
    """What is served."""

    models: list[Model]


@router.get("/v1/models", summary="The models that are served")
async def list_models(context: InContext) -> Models:
    """Empty until the first model is loaded."""
    served = await context.serving()
    if served is None:
        return Models(models=[])
    manifest = served.manifest
    return Models(
        models=[
            Model(
                name=served.version.name,
                version=served.version.version,
                digest=served.version.digest,
                native_size=manifest.native_size,
                multiple=manifest.architecture.multiple,
                context_length=manifest.architecture.text.max_position_embeddings,
                defaults=manifest.defaults,
                controls=sorted(manifest.controls),
                licence=manifest.licence,
                training_data=manifest.training_data,
                metrics=manifest.metrics,
                created=manifest.created,
            )
        ]
    )
