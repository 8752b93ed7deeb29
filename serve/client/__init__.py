"""The API from Python.

    with Client("http://127.0.0.1:8000", key) as client:
        pictures = client.generate("a brass gear", controls=[Control("canny", "photo.jpg")], n=2)

It stands alone: no model, no server, only httpx. `AsyncClient` is the same with `await`. Both are thin: what to send is
in `calls`, what came is in `job` and `events`, when to try again in `retries`, and none of these touches a socket.
"""

from serve.client.asynchronous import AsyncClient
from serve.client.calls import Control, Parameters
from serve.client.client import Client
from serve.client.events import (
    Annotated,
    Ended,
    Event,
    ImageDone,
    Progressed,
    Queued,
    Started,
)
from serve.client.job import ControlMap, Image, Job, Kind, Map, ModelVersion, Priority, Progress, State, Warned
from serve.client.pictures import Picture
from serve.client.problems import ClientError, ResultWarning, StreamBroken, UnexpectedAnswer, Unreachable
from serve.client.retries import Retries

__all__ = [
    "Annotated",
    "AsyncClient",
    "Client",
    "ClientError",
    "Control",
    "ControlMap",
    "Ended",
    "Event",
    "Image",
    "ImageDone",
    "Job",
    "Kind",
    "Map",
    "ModelVersion",
    "Parameters",
    "Picture",
    "Priority",
    "Progress",
    "Progressed",
    "Queued",
    "ResultWarning",
    "Retries",
    "Started",
    "State",
    "StreamBroken",
    "UnexpectedAnswer",
    "Unreachable",
    "Warned",
]
