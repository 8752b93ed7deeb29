"""The API from Python.

    with Client("http://127.0.0.1:8000", key) as client:
        pictures = client.generate("a brass gear", controls=[Control("canny", "photo.jpg")], n=2)

It stands alone: no model, no server, only httpx. `AsyncClient` is the same with `await`. Both are thin: what to send is
in `calls`, what came is in `job` and `events`, when to try again in `retries`, and none of these touches a socket.
"""

from tests.compat.client_0_1.asynchronous import AsyncClient
from tests.compat.client_0_1.calls import Control, Parameters
from tests.compat.client_0_1.client import Client
from tests.compat.client_0_1.events import (
    Annotated,
    Ended,
    Event,
    ImageDone,
    Progressed,
    Queued,
    Started,
)
from tests.compat.client_0_1.job import ControlMap, Image, Job, Map, ModelVersion, Progress, State
from tests.compat.client_0_1.pictures import Picture
from tests.compat.client_0_1.problems import ClientError, StreamBroken, UnexpectedAnswer, Unreachable
from tests.compat.client_0_1.retries import Retries

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
    "Map",
    "ModelVersion",
    "Parameters",
    "Picture",
    "Progress",
    "Progressed",
    "Queued",
    "Retries",
    "Started",
    "State",
    "StreamBroken",
    "UnexpectedAnswer",
    "Unreachable",
]
