"""Renders the charts with Helm's own engine, from a copy that a mutation may have changed."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
HELM = ROOT / "k8s" / "helm"

Document = dict[str, Any]
ENVIRONMENTS = ("dev", "prod", "kind")
POD_KINDS = {"Deployment", "DaemonSet", "StatefulSet", "Job"}

SERVING, MLFLOW = "22222222-2222-2222-2222-222222222222", "33333333-3333-3333-3333-333333333333"
IMAGES = ("api", "cpu", "gpu", "mlflow", "devicePlugin", "dcgm", "collector", "postgresql")
DIGESTS = {name: f"sha256:{i:064x}" for i, name in enumerate(IMAGES, start=1)}
INGRESS = {"host": "images.example.com", "tlsSecret": "api-tls"}
LIMITS = {
    "requests_per_minute": 600,
    "queued_jobs": 200,
    "images_per_day": 10_000,
    "gflop_per_day": 5.0e7,
    "max_pixels": 1_048_576,
    "max_steps": 50,
    "max_images": 8,
    "retention_days": 7,
}


class Missing(Exception):
    """A tool that renders or checks is not here; the message says how to get it."""


@dataclass(frozen=True)
class Render:
    """One set of values, and what Helm made of it.

    Attributes:
        values: What was given on top of the charts' own.
        namespace: Of the release.
        documents: All objects.
    """

    values: Mapping[str, Any]
    namespace: str
    documents: Sequence[Document]

    def of(self, *kinds: str) -> list[Document]:
        """The objects of these kinds."""
        return [document for document in self.documents if document["kind"] in kinds]

    def one(self, kind: str, name: str) -> Document:
        """The object that must be there, once."""
        found = [document for document in self.of(kind) if document["metadata"]["name"] == name]
        assert len(found) == 1, f"there are {len(found)} {kind} {name}"
        return found[0]

    def pods(self) -> Iterator[Pod]:
        """The pods that the objects make."""
        for document in self.documents:
            yield from _pods(document)


@dataclass(frozen=True)
class Pod:
    """A template of pods.

    Attributes:
        owner: Kind and name of what makes them, and the worker group.
        namespace: Of both.
        labels: Of the pods.
        spec: Theirs.
    """

    owner: str
    namespace: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All of them, init containers first."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


class Charts:
    """A copy of the charts with the umbrella's dependencies in place.

    Args:
        folder: Where the copy goes.
        mutate: Changes the copy before anything is read from it.

    Raises:
        Missing: Helm's engine is not installed.
    """

    def __init__(self, folder: Path, mutate: Callable[[Path], None] | None = None) -> None:
        try:
            import helm_python
            from helm_python.chart import Chart
        except ImportError as error:
            raise Missing("pip install helm-python-sdk==0.2.2") from error
        self.folder = folder / "helm"
        shutil.copytree(HELM, self.folder, ignore=shutil.ignore_patterns("*.tgz", "Chart.lock"))
        if mutate:
            mutate(self.folder)
        helm_python.dependency_update(str(self.folder / "platform"))
        self._load = Chart.load

    def render(self, *values: Mapping[str, Any], name: str = "controlnet", namespace: str = "controlnet") -> Render:
        """The umbrella with these values, later ones over earlier ones as `-f` has it.

        Raises:
            HelmValuesError: The schema refuses the values.
            HelmRenderError: A template does.
        """
        given = merged(*values)
        # Loaded anew: a render takes the parts that its values disable out of the chart for good.
        chart = self._load(str(self.folder / "platform"))
        made = chart.render(copy.deepcopy(given), name=name, namespace=namespace)
        return Render(given, namespace, parsed(made))

    def render_alone(self, chart: str, values: Mapping[str, Any], namespace: str) -> Render:
        """One of the charts by itself."""
        made = self._load(str(self.folder / "charts" / chart)).render(dict(values), name=chart, namespace=namespace)
        return Render(values, namespace, parsed(made))

    def file(self, name: str) -> dict[str, Any]:
        """The umbrella's `values-<name>.yaml`, that of prod with the host that its command says."""
        values = yaml.safe_load((self.folder / "platform" / f"values-{name}.yaml").read_text())
        return merged(values, {"serving": {"api": {"ingress": INGRESS}}}) if name == "prod" else values


def parsed(rendered: Mapping[str, str]) -> list[Document]:
    """The objects in what Helm rendered."""
    texts = [text for path, text in rendered.items() if not path.endswith(".txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges: mappings by key, anything else whole."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            both = isinstance(below, Mapping) and isinstance(value, Mapping)
            result[key] = merged(below, value) if both else copy.deepcopy(value)
    return result


def terraform(names: Sequence[str] = ()) -> dict[str, Any]:
    """What `terraform output -json helm_values` says of an environment with these teams."""
    azure = {
        "tenantId": "11111111-1111-1111-1111-111111111111",
        "storageAccount": "cnstore",
        "storageContainer": "artifacts",
        "keyVaultName": "cn-vault",
        "postgresHost": "cn.postgres.database.azure.com",
        "redisHost": "cn.westeurope.redis.azure.net",
    }
    return {
        "global": {"registry": "cn.azurecr.io", "azure": azure},
        "serving": {"serviceAccount": {"clientId": SERVING}},
        "mlflow": {"serviceAccount": {"clientId": MLFLOW}},
        "teams": {name: {"clientId": client(i), "container": f"team-{name}"} for i, name in enumerate(names)},
    }


def client(i: int) -> str:
    """The identity of the i-th team."""
    return f"44444444-4444-4444-4444-{i:012d}"


def images() -> dict[str, Any]:
    """A digest of each image, ours and others'."""
    return merged(built(), foreign())


def foreign() -> dict[str, Any]:
    """What `ops/docker/foreign.sh` says: of images that have a registry of their own."""
    known = yaml.safe_load((HELM / "platform" / "values.yaml").read_text())["global"]["images"]
    return _digests(name for name, image in known.items() if "registry" in image)


def built() -> dict[str, Any]:
    """What `ops/docker/build.sh` says of the images that it builds."""
    return _digests(("api", "cpu", "gpu", "mlflow"))


def _digests(names: Iterable[str]) -> dict[str, Any]:
    return {"global": {"images": {name: {"digest": DIGESTS[name]} for name in names}}}


def teams(n: int) -> list[dict[str, Any]]:
    """Declarations of n teams, no two alike."""
    return [
        {"name": f"team{i}", "weight": i + 1, "models": ["controlnet-demo"], "limits": {**LIMITS, "max_steps": 10 + i}}
        for i in range(n)
    ]


def platform(charts: Charts, environment: str, n: int, dedicated: bool) -> list[Render]:
    """The releases of an environment: the shared platform, and that of the first team where it has its own."""
    declared = teams(n)
    names = [team["name"] for team in declared]
    azure = [] if environment == "kind" else [terraform(names), images()]
    first = {"teams": {names[0]: {"dedicated": True, "gpus": 2}}} if dedicated and names else {}
    shared = charts.render(charts.file(environment), *azure, {"tenants": declared}, first)
    if not (dedicated and names):
        return [shared]
    namespace = f"team-{names[0]}"
    own = {
        "tenants": declared[:1],
        "global": {"azure": {"storageContainer": namespace}},
        "serving": {
            "secrets": {"prefix": f"{names[0]}-"},
            "serviceAccount": {"clientId": client(0)},
            "networkPolicy": {"onlyTenant": names[0]},
        },
    }
    azure = [] if environment == "kind" else [terraform(names), images()]
    layers = (charts.file(environment), *azure, charts.file("dedicated"), own)
    return [shared, charts.render(*layers, name=names[0], namespace=namespace)]


def _pods(document: Document) -> Iterator[Pod]:
    kind, metadata = document["kind"], document["metadata"]
    owner, namespace = f"{kind}/{metadata['name']}", metadata.get("namespace", "")
    if kind == "Pod":
        yield Pod(owner, namespace, metadata["labels"], document["spec"])
    elif kind in POD_KINDS:
        template = document["spec"]["template"]
        yield Pod(owner, namespace, template["metadata"]["labels"], template["spec"])
    elif kind == "RayService":
        cluster = document["spec"]["rayClusterConfig"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            template = group["template"]
            name = f"{owner}/{group.get('groupName', 'head')}"
            yield Pod(name, namespace, template["metadata"]["labels"], template["spec"])
