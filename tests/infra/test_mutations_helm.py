"""One protection is taken away at a time, and the check that is named for it turns red.

A mutation that changes nothing is a failure too: the line it removes has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra import checks
from tests.infra.charts import Charts, Missing, Render, platform
from tests.infra.parties import WHO
from tests.infra.walls import allowed

pytestmark = pytest.mark.infra

SERVING, TENANT, MLFLOW = "charts/serving/templates", "charts/tenant/templates", "charts/mlflow/templates"


def shut(source: str, target: str, port: int) -> Callable[[Render], None]:
    """The check that a connection is not allowed."""

    def check(render: Render) -> None:
        if render.namespace == "controlnet":  # a team's own platform has walls of its own
            assert not allowed(render.documents, WHO[source], WHO[target], port)

    return check


@dataclass(frozen=True)
class Mutation:
    """What is taken away, and who must notice.

    Attributes:
        name: Of the protection.
        file: In k8s/helm.
        old: A text that is in it.
        new: What stands there instead.
        check: What must fail.
    """

    name: str
    file: str
    old: str
    new: str
    check: Callable[[Render], None]


def cut(text: str, line: str) -> str:
    """The object of a template that has this line."""
    at = text.index(line)
    ends = [end for mark in ("\n---", "\n{{-") if (end := text.find(mark, at)) > 0]
    return text[text.rindex("apiVersion:", 0, at) : min(ends, default=len(text))]


MUTATIONS = [
    Mutation(
        "toleration of the pool's taint",
        "platform/values-prod.yaml",
        "tolerations: [{key: nvidia.com/gpu, operator: Equal, value: present, effect: NoSchedule}]",
        "tolerations: []",
        checks.gpus_and_taints_agree,
    ),
    Mutation(
        "CPU pods stay off GPU nodes",
        f"{SERVING}/_serving.tpl",
        "  {{- with .node.tolerations }}\n  tolerations: {{- toYaml . | nindent 4 }}\n  {{- end }}",
        "  tolerations: [{key: nvidia.com/gpu, operator: Equal, value: present, effect: NoSchedule}]",
        checks.gpus_and_taints_agree,
    ),
    Mutation(
        "a team's quota of GPUs",
        f"{TENANT}/_tenant.tpl",
        "    requests.nvidia.com/gpu: {{ $team.gpus | toString | quote }}\n",
        "",
        checks.teams_have_quotas,
    ),
    Mutation(
        "a team's quota is its own",
        f"{TENANT}/_tenant.tpl",
        "{{ $team.gpus | toString | quote }}",
        '"8"',
        checks.teams_have_quotas,
    ),
    Mutation(
        "default deny of teams",
        f"{TENANT}/_tenant.tpl",
        "name: tenant-default-deny",
        "",
        checks.namespaces_deny_by_default,
    ),
    Mutation(
        "default deny of the platform",
        f"{SERVING}/networkpolicies.yaml",
        "name: serving-default-deny",
        "",
        checks.namespaces_deny_by_default,
    ),
    Mutation(
        "default deny of the registry",
        f"{MLFLOW}/mlflow.yaml",
        "name: mlflow-default-deny",
        "",
        checks.namespaces_deny_by_default,
    ),
    Mutation(
        "who reaches the registry",
        f"{MLFLOW}/mlflow.yaml",
        """        - namespaceSelector: {matchLabels: {controlnet.io/serving: "true"}}
          podSelector:""",
        """        - namespaceSelector: {}
        - podSelector:""",
        shut("elsewhere", "mlflow", 5000),
    ),
    Mutation(
        "who reaches Ray",
        f"{SERVING}/networkpolicies.yaml",
        "    - from: [{podSelector: {matchLabels: {controlnet.io/ray: {{ .Release.Name }}}}}]\n",
        "    - from: [{namespaceSelector: {}}]\n",
        shut("elsewhere", "head", 8265),
    ),
    Mutation(
        "the nodes' metadata service is out of reach",
        f"{SERVING}/_common.tpl",
        ", except: [169.254.169.254/32]",
        "",
        shut("sampler", "metadata", 443),
    ),
    Mutation(
        "the api's budget", f"{SERVING}/api.yaml", "kind: PodDisruptionBudget", "", checks.disruptions_are_bounded
    ),
    Mutation("the workers' budget", f"{SERVING}/rayservice.yaml", "name: ray-cpu", "", checks.disruptions_are_bounded),
    Mutation(
        "a budget that Kubernetes can count",
        f"{SERVING}/rayservice.yaml",
        "minAvailable: {{ sub (int $ray.cpu.replicas.min) 1 }}",
        "maxUnavailable: 1",
        checks.disruptions_are_bounded,
    ),
    Mutation(
        "the registry's budget",
        f"{MLFLOW}/mlflow.yaml",
        "kind: PodDisruptionBudget",
        "",
        checks.disruptions_are_bounded,
    ),
    Mutation(
        "digests",
        f"{SERVING}/_common.tpl",
        "{{ $from }}@{{ $image.digest }}",
        "{{ $from }}:{{ $image.tag }}",
        checks.images_are_digests,
    ),
    Mutation(
        "an image is the one that is meant",
        f"{SERVING}/rayservice.yaml",
        '"image" .image',
        '"image" "mlflow"',
        checks.images_are_digests,
    ),
    Mutation(
        "Ray's token",
        f"{SERVING}/rayservice.yaml",
        "authOptions: {mode: token}",
        "authOptions: {mode: disabled}",
        checks.ray_asks_for_its_token,
    ),
    Mutation(
        "Ray's version, without which there is no token",
        f"{SERVING}/rayservice.yaml",
        "    rayVersion: {{ $ray.version | quote }}\n",
        "",
        checks.operator_accepts,
    ),
    Mutation(
        "runAsNonRoot of pods",
        f"{SERVING}/_common.tpl",
        "runAsNonRoot: true\nrunAsUser: 10001\n",
        "runAsUser: 0\n",
        checks.pods_are_restricted,
    ),
    Mutation(
        "runAsNonRoot of containers",
        f"{SERVING}/_common.tpl",
        "runAsNonRoot: true\nreadOnly",
        "readOnly",
        checks.pods_are_restricted,
    ),
    Mutation(
        "read-only root",
        f"{SERVING}/_common.tpl",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        checks.pods_are_restricted,
    ),
    Mutation(
        "the autoscaler beside the head is confined",
        f"{SERVING}/rayservice.yaml",
        '      securityContext: {{- include "cn.containerSecurity" . | nindent 8 }}\n      volumeMounts',
        "      securityContext: {}\n      volumeMounts",
        checks.pods_are_restricted,
    ),
    Mutation(
        "no token of Kubernetes",
        f"{SERVING}/api.yaml",
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
        checks.pods_are_restricted,
    ),
    Mutation(
        "Pod Security of teams",
        f"{TENANT}/_tenant.tpl",
        "enforce: restricted",
        "enforce: baseline",
        checks.namespaces_are_restricted,
    ),
    Mutation(
        "the account that an identity trusts",
        f"{TENANT}/_tenant.tpl",
        "kind: ServiceAccount\nmetadata:\n  name: tenant\n",
        "kind: ServiceAccount\nmetadata:\n  name: team\n",
        checks.accounts_are_those_identities_trust,
    ),
    Mutation(
        "old clusters outlast jobs",
        f"{SERVING}/rayservice.yaml",
        "rayClusterDeletionDelaySeconds: {{ add .Values.jobTimeout 60 }}",
        "rayClusterDeletionDelaySeconds: 60",
        checks.drains_outlast_jobs,
    ),
    Mutation(
        "workers outlast jobs",
        f"{SERVING}/_serving.tpl",
        "terminationGracePeriodSeconds: {{ add .root.Values.jobTimeout 60 }}",
        "terminationGracePeriodSeconds: 30",
        checks.drains_outlast_jobs,
    ),
    Mutation(
        "Ray's drain outlasts jobs",
        f"{SERVING}/settings.yaml",
        "{{ add .Values.jobTimeout 30 | quote }}",
        '"30"',
        checks.drains_outlast_jobs,
    ),
    Mutation(
        "pods outlast Ray's drain",
        f"{SERVING}/settings.yaml",
        "{{ add .Values.jobTimeout 30 | quote }}",
        "{{ add .Values.jobTimeout 60 | quote }}",
        checks.drains_outlast_jobs,
    ),
    Mutation(
        "no route to the platform by Ray",
        f"{SERVING}/rayservice.yaml",
        "route_prefix: null",
        "route_prefix: /",
        checks.serve_routes_only_health,
    ),
    Mutation(
        "the route that KubeRay counts",
        f"{SERVING}/rayservice.yaml",
        "route_prefix: /health",
        "route_prefix: null",
        checks.serve_routes_only_health,
    ),
    Mutation(
        "the head takes no replica",
        f"{SERVING}/rayservice.yaml",
        'resources: {CPU: "0"} ',
        'resources: {CPU: "4"} ',
        checks.rays_resources_are_the_pods,
    ),
    Mutation(
        "Ray's objects are in memory",
        f"{SERVING}/_serving.tpl",
        'object-store-memory: "1000000000"',
        'object-store-memory: "2400000000"',
        checks.objects_fit_into_shared_memory,
    ),
    Mutation(
        "memory has a limit",
        f"{SERVING}/_serving.tpl",
        "resources: {{- toYaml .resources | nindent 8 }}",
        'resources: {{- pick .resources "requests" | toYaml | nindent 8 }}',
        checks.containers_are_bounded,
    ),
    Mutation(
        "an api autoscaled stays so",
        f"{SERVING}/api.yaml",
        "  revisionHistoryLimit: 3\n",
        "  replicas: 2\n",
        checks.selectors_select,
    ),
    Mutation(
        "who has a platform of their own is no tenant of this one",
        "platform/templates/declaration.yaml",
        "(and $.Values.tenantNamespaces $team.dedicated)",
        "false",
        checks.teams_are_declared_once,
    ),
]

OBJECTS = ("name: tenant-default-deny", "name: serving-default-deny", "name: mlflow-default-deny")
OBJECTS += ("name: ray-cpu", "kind: PodDisruptionBudget")


def broken(mutation: Mutation) -> Callable[[Path], None]:
    """The change of a copy; where nothing is put in its place, a named object goes whole."""

    def mutate(folder: Path) -> None:
        name = mutation.file.rsplit("/", 1)[1]
        # The common templates are one text in every chart, so one of the copies would hide the mutation of another.
        files = sorted(folder.rglob(name)) if name == "_common.tpl" else [folder / mutation.file]
        for file in files:
            text = file.read_text()
            assert mutation.old in text, f"{mutation.file} has no {mutation.old!r}"
            old = cut(text, mutation.old) if mutation.old in OBJECTS else mutation.old
            file.write_text(text.replace(old, mutation.new, 1))

    return mutate


def every(renders: Sequence[Render], check: Callable[[Render], None]) -> None:
    """Ask all releases."""
    for render in renders:
        check(render)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_is_taken_away_is_missed(mutation, rendered, tmp_path):
    every(rendered("prod", 1, True), mutation.check)  # green before
    try:
        charts = Charts(tmp_path, broken(mutation))
    except Missing as missing:
        pytest.skip(f"charts are not rendered: {missing}")
    renders = platform(charts, "prod", 1, True)
    with pytest.raises((AssertionError, KeyError)):
        every(renders, mutation.check)
