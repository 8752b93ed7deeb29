"""`GET /v1/controls`."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import BaseModel, Field

from controlnet.annotators import ANNOTATORS, Annotator
from serve.api.context import InContext

router = APIRouter(tags=["models"])


class ParameterAnswer(BaseModel):
    """A number that a request may set."""

    name: str
    minimum: float
    maximum: float
    default: float
    step: float
    description: str


class AnnotatorAnswer(BaseModel):
    """Makes control maps from pictures."""

    name: str
    description: str
    parameters: list[ParameterAnswer]


class ControlAnswer(BaseModel):
    """A control of the served model."""

    type: str
    description: str
    annotator: str = Field(description="Makes the map of an `image`; `none` takes maps only.")
    parameters: list[ParameterAnswer] = Field(description="Of the annotator, with this control's defaults.")


class Controls(BaseModel):
    """What can steer images here."""

    controls: list[ControlAnswer]
    annotators: list[AnnotatorAnswer]


@router.get("/v1/controls", summary="The controls of the served model, and the annotators there are")
async def list_controls(context: InContext) -> Controls:
    """No controls until a model is loaded."""
    served = await context.serving()
    trained = {} if served is None else served.manifest.controls
    controls = [
        ControlAnswer(
            type=name,
            description=control.description,
            annotator=control.annotator,
            parameters=_parameters(ANNOTATORS.get(control.annotator), control.parameters),
        )
        for name, control in sorted(trained.items())
    ]
    annotators = [
        AnnotatorAnswer(name=annotator.name, description=annotator.description, parameters=_parameters(annotator, {}))
        for annotator in ANNOTATORS.values()
    ]
    return Controls(controls=controls, annotators=annotators)


def _parameters(annotator: Annotator | None, defaults: Mapping[str, float]) -> list[ParameterAnswer]:
    return [
        ParameterAnswer(
            name=parameter.name,
            minimum=parameter.minimum,
            maximum=parameter.maximum,
            default=defaults.get(parameter.name, parameter.default),
            step=parameter.step,
            description=parameter.description,
        )
        for parameter in (annotator.parameters if annotator else ())
    ]
