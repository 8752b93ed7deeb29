"""What must be so of every rendered platform. `test_helm` asks it of all, `test_mutations_helm` of broken ones.

A check is a function that takes a `Render` and fails with an assertion that names the object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from tests.infra.charts import DIGESTS, Document, Pod, Render
from tests.infra.kuberay import refusals
from tests.infra.walls import matches

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}  # of the GPU pool, as Terraform makes it
SPOT = {"key": "kubernetes.azure.com/scalesetpriority", "value": "spot", "effect": "NoSchedule"}
POOL = ("controlnet.io/pool", "gpu")
PRIVILEGED = "gpu-system"  # the kubelet's sockets are host paths
GPU = "nvidia.com/gpu"
UNITS = {"": 1, "m": 1e-3, **{f"{prefix}i": 1024**power for power, prefix in enumerate("KMGT", start=1)}}
MEANT = {"api": "api", "tenants": "api", "test": "api", "ray-head": "cpu", "ray-cpu": "cpu", "ray-sampler": "gpu"}
FOREIGN = {"devicePlugin": "k8s-device-plugin", "dcgm": "dcgm-exporter", "collector": "opentelemetry-collector"}


def objects_are_one_of_a_kind(render: Render) -> None:
    """No two objects have one name."""
    names = [_name(document) for document in render.documents]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def operator_accepts(render: Render) -> None:
    """KubeRay reconciles the RayService."""
    for service in render.of("RayService"):
        assert not refusals(service), refusals(service)


def pods_are_restricted(render: Render) -> None:
    """Each pod is what Pod Security's "restricted" admits, cannot write its image, and has no token it does not use."""
    for pod in render.pods():
        if pod.namespace == PRIVILEGED:
            continue
        assert pod.spec["securityContext"]["runAsNonRoot"] is True, pod.owner
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            assert not pod.spec.get(key), f"{pod.owner}: {key}"
        for volume in pod.spec.get("volumes", []):
            assert "hostPath" not in volume, f"{pod.owner}: {volume}"
        for container in pod.containers:
            confined(container["securityContext"], f"{pod.owner}: {container['name']}")
        if not pod.owner.endswith("/head"):  # Ray's autoscaler calls the API server
            assert pod.spec["automountServiceAccountToken"] is False, pod.owner
    for service in render.of("RayService"):
        autoscaler = service["spec"]["rayClusterConfig"]["autoscalerOptions"]
        confined(autoscaler["securityContext"], "the autoscaler beside Ray's head")


def confined(context: Mapping[str, Any], where: str) -> None:
    """A container's security context gives nothing away."""
    assert context["runAsNonRoot"] is True, f"{where}: runAsNonRoot"
    assert context["readOnlyRootFilesystem"] is True, f"{where}: readOnlyRootFilesystem"
    assert context["allowPrivilegeEscalation"] is False, f"{where}: allowPrivilegeEscalation"
    assert context["capabilities"] == {"drop": ["ALL"]}, f"{where}: capabilities"


def namespaces_are_restricted(render: Render) -> None:
    """Admission holds pods to it, but for the two that need the kubelet's sockets."""
    for namespace in render.of("Namespace"):
        labels, name = namespace["metadata"]["labels"], namespace["metadata"]["name"]
        wanted = "privileged" if name == PRIVILEGED else "restricted"
        assert labels["pod-security.kubernetes.io/enforce"] == wanted, name


def containers_are_bounded(render: Render) -> None:
    """Each container asks for CPU and memory, and memory has a limit: quotas refuse others."""
    for pod in render.pods():
        for container in pod.containers:
            resources = container["resources"]
            where = f"{pod.owner}: {container['name']}"
            assert {"cpu", "memory"} <= resources["requests"].keys(), where
            assert "memory" in resources["limits"], where


def namespaces_deny_by_default(render: Render) -> None:
    """Where pods run, a policy selects all of them, both ways, and opens nothing."""
    shut = {
        policy["metadata"]["namespace"]
        for policy in render.of("NetworkPolicy")
        if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    run = {pod.namespace for pod in render.pods()} | {n["metadata"]["name"] for n in render.of("Namespace")}
    assert run <= shut, f"open: {sorted(run - shut)}"


def teams_have_quotas(render: Render) -> None:
    """Each team's namespace has a quota, of GPUs too, a LimitRange and an account."""
    for namespace in render.of("Namespace"):
        team = namespace["metadata"]["labels"].get("controlnet.io/tenant")
        if team is None:
            continue
        here = [d for d in render.documents if d["metadata"].get("namespace") == namespace["metadata"]["name"]]
        kinds = {document["kind"]: document for document in here}
        assert "ResourceQuota" in kinds, f"{team} has no quota"
        hard = kinds["ResourceQuota"]["spec"]["hard"]
        given = render.values.get("teams", {}).get(team, {}).get("gpus", 0)
        assert hard[f"requests.{GPU}"] == str(given), f"{team} may use {hard} GPUs, and was given {given}"
        assert {"requests.cpu", "requests.memory", "limits.memory", "pods"} <= hard.keys(), team
        assert {"LimitRange", "ServiceAccount"} <= kinds.keys(), team


def disruptions_are_bounded(render: Render) -> None:
    """A budget covers whatever there are several of, one each: two would block every eviction.

    Ray's pods have an owner without a `scale`: of those Kubernetes counts only who must stay, in whole numbers, which
    is less than there are, since a drain must be able to take one.
    """
    budgets = render.of("PodDisruptionBudget")
    least = {
        f"RayService/{s['metadata']['name']}/{group['groupName']}": group["minReplicas"]
        for s in render.of("RayService")
        for group in s["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    }
    for pod in render.pods():
        if pod.owner.split("/")[0] not in ("Deployment", "RayService") or "collector" in pod.owner:
            continue
        covering = [b for b in budgets if _covers(b, pod)]
        if pod.owner.startswith("RayService/"):
            several = pod.labels["controlnet.io/component"] == "ray-cpu" and least[pod.owner] > 1
            assert len(covering) == several, f"{pod.owner} has {len(covering)} budgets"
            for budget in covering:
                spec = {key: value for key, value in budget["spec"].items() if key != "selector"}
                wanted = {"minAvailable": least[pod.owner] - 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
                assert spec == wanted, f"{pod.owner}: {spec}"
        else:
            assert len(covering) == 1, f"{pod.owner} has {len(covering)} budgets"


def images_are_digests(render: Render) -> None:
    """Each image is named by the digest in the values."""
    for pod in render.pods():
        for container in pod.containers:
            where = f"{pod.owner}: {container['name']}: {container['image']}"
            repository, _, digest = container["image"].partition("@")
            assert digest in DIGESTS.values(), where
            name = next(name for name, known in DIGESTS.items() if known == digest)
            last = repository.rsplit("/", 1)[1]
            assert last == FOREIGN.get(name, name), where
            assert name == MEANT.get(pod.labels["controlnet.io/component"], name), where


def ray_asks_for_its_token(render: Render) -> None:
    """Ray's ports want a token, which the operator makes for each cluster."""
    for service in render.of("RayService"):
        assert service["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def gpus_and_taints_agree(render: Render) -> None:
    """Who asks for a GPU tolerates the pool's taint and selects the pool; nobody else may stand on it."""
    for pod in render.pods():
        asks = any(GPU in container["resources"].get("limits", {}) for container in pod.containers)
        serves = pod.namespace == PRIVILEGED
        tolerations = [{k: v for k, v in t.items() if k != "operator"} for t in pod.spec.get("tolerations", [])]
        if asks or serves:
            assert TAINT in tolerations, f"{pod.owner} asks for a GPU and does not tolerate {TAINT}"
            assert pod.spec["nodeSelector"].get(POOL[0]) == POOL[1], f"{pod.owner} selects no GPU node"
            assert "spot" not in pod.owner or SPOT in tolerations, f"{pod.owner} does not tolerate spot"
        else:
            assert not tolerations, f"{pod.owner} asks for no GPU and tolerates {tolerations}"


def rays_resources_are_the_pods(render: Render) -> None:
    """The head takes no replica, pixels go to CPU groups, samplers to the others; `GPU` is what the pod may use."""
    for service in render.of("RayService"):
        cluster = service["spec"]["rayClusterConfig"]
        assert cluster["headGroupSpec"]["resources"] == {"CPU": "0"}
        for group in cluster["workerGroupSpecs"]:
            limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
            assert group["resources"].get("GPU") == limits.get(GPU), group["groupName"]
            assert group["resources"]["CPU"] == limits["cpu"], group["groupName"]
            assert ("pixels" in group["resources"]) != ("sampling" in group["resources"]), group["groupName"]
            assert not ("pixels" in group["resources"] and GPU in limits), group["groupName"]


def objects_fit_into_shared_memory(render: Render) -> None:
    """Ray's objects are in /dev/shm, which has room for them and is part of the pod's memory: else they are on disk."""
    for service in render.of("RayService"):
        cluster = service["spec"]["rayClusterConfig"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            where = group.get("groupName", "head")
            pod = group["template"]["spec"]
            (container,) = pod["containers"]
            (name,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
            (volume,) = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == name]
            objects = group["rayStartParams"]["object-store-memory"]
            assert volume["medium"] == "Memory", where
            assert isinstance(objects, str), f"{where}: Ray's parameters are strings"
            assert int(objects) < size(volume["sizeLimit"]) < size(container["resources"]["limits"]["memory"]), where


def size(quantity: str) -> float:
    """Kubernetes' spelling of a number, in units: bytes, cores."""
    digits = quantity.rstrip("mkKMGTi")
    return float(digits) * UNITS[quantity.removeprefix(digits)]


def accounts_are_those_identities_trust(render: Render) -> None:
    """Pods run as accounts that exist, and an account names an identity only where its federated subject is."""
    there = {(a["metadata"]["namespace"], a["metadata"]["name"]) for a in render.of("ServiceAccount")}
    for account in render.of("ServiceAccount"):
        namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
        identity = account["metadata"].get("annotations", {}).get("azure.workload.identity/client-id")
        if identity is not None:
            assert identity == _trusting(render, namespace, name), f"system:serviceaccount:{namespace}:{name}"
    for pod in render.pods():
        account = pod.spec.get("serviceAccountName", "default")
        alone = (pod.namespace, account) == (render.namespace, "tenant")  # the shared platform's release made it
        assert account == "default" or alone or (pod.namespace, account) in there, f"{pod.owner}: {account}"


def selectors_select(render: Render) -> None:
    """Services, budgets, policies, monitors and autoscalers mean something that is there."""
    pods = list(render.pods())
    for document in render.of("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec, namespace = document["spec"], document["metadata"]["namespace"]
        selector = {"matchLabels": spec["selector"]} if document["kind"] == "Service" else None
        selector = selector or spec.get("selector") or spec["podSelector"]
        if selector == {}:
            continue
        found = [pod for pod in pods if pod.namespace == namespace and matches(selector, pod.labels)]
        assert found, f"{_name(document)} selects no pod"
        if document["kind"] == "Service":
            for port in spec["ports"]:
                assert all(_has_port(pod, port["targetPort"]) for pod in found), f"{_name(document)}: {port}"
    for document in render.of("HorizontalPodAutoscaler"):
        target = document["spec"]["scaleTargetRef"]
        deployment = render.one(target["kind"], target["name"])
        assert "replicas" not in deployment["spec"], "an upgrade would undo the autoscaler"


def references_exist(render: Render) -> None:
    """ConfigMaps and claims that pods name are rendered; Secrets are not, so that no value holds one."""
    there = {(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in render.documents}
    assert not render.of("Secret")
    for pod in render.pods():
        sources = [source for container in pod.containers for source in container.get("envFrom", [])]
        names = [("ConfigMap", source["configMapRef"]["name"]) for source in sources]
        for volume in pod.spec.get("volumes", []):
            if "configMap" in volume:
                names.append(("ConfigMap", volume["configMap"]["name"]))
            if "persistentVolumeClaim" in volume:
                names.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
            if "csi" in volume:
                names.append(("SecretProviderClass", volume["csi"]["volumeAttributes"]["secretProviderClass"]))
        for kind, name in names:
            assert (kind, pod.namespace, name) in there, f"{pod.owner}: {kind} {name}"
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        claimed = {"data"} if pod.owner.startswith("StatefulSet/") else set()
        assert mounted == {volume["name"] for volume in pod.spec.get("volumes", [])} | claimed, pod.owner


def drains_outlast_jobs(render: Render) -> None:
    """An old cluster is deleted, and a worker killed, only after the longest job; Ray's own drain lasts as long."""
    settings = render.one("ConfigMap", "serving-settings")["data"]
    longest, drain = int(settings["CN_JOB_TIMEOUT"]), float(settings["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert drain > longest
    for service in render.of("RayService"):
        assert service["spec"]["rayClusterDeletionDelaySeconds"] > longest
    for pod in render.pods():
        if pod.owner.startswith("RayService/"):
            assert pod.spec["terminationGracePeriodSeconds"] > drain, pod.owner


def serve_routes_only_health(render: Render) -> None:
    """Ray's HTTP has the one route that KubeRay needs, nothing of the platform, and no Service of ours leads there."""
    for service in render.of("RayService"):
        config = yaml.safe_load(service["spec"]["serveConfigV2"])
        routes = {application["name"]: application["route_prefix"] for application in config["applications"]}
        assert routes == {"controlnet": None, "health": "/health"}
        assert service["spec"]["excludeHeadPodFromServeSvc"] is True
    for document in render.of("Service", "Ingress"):
        assert document["metadata"]["name"] in ("api", "mlflow", "postgresql", "collector"), _name(document)


def teams_are_declared_once(render: Render) -> None:
    """What the hook job applies is what the values say, of those teams that this platform serves."""
    declared = json.loads(render.one("ConfigMap", "tenants")["data"]["tenants.yaml"])["tenants"]
    own = {name for name, team in render.values.get("teams", {}).items() if team.get("dedicated")}
    assert declared == [team for team in render.values.get("tenants", []) if team["name"] not in own]
    annotations = next(job for job in render.of("Job"))["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "post-install,post-upgrade"


ALL = (
    objects_are_one_of_a_kind,
    operator_accepts,
    pods_are_restricted,
    namespaces_are_restricted,
    containers_are_bounded,
    namespaces_deny_by_default,
    teams_have_quotas,
    disruptions_are_bounded,
    ray_asks_for_its_token,
    gpus_and_taints_agree,
    rays_resources_are_the_pods,
    objects_fit_into_shared_memory,
    accounts_are_those_identities_trust,
    selectors_select,
    references_exist,
    drains_outlast_jobs,
    serve_routes_only_health,
    teams_are_declared_once,
)


def _name(document: Document) -> str:
    metadata = document["metadata"]
    return f"{document['apiVersion']}/{document['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def _covers(budget: Document, pod: Pod) -> bool:
    return budget["metadata"]["namespace"] == pod.namespace and matches(budget["spec"]["selector"], pod.labels)


def _has_port(pod: Pod, port: object) -> bool:
    ports = [entry for container in pod.containers for entry in container.get("ports", [])]
    return any(port in (entry["name"], entry["containerPort"]) for entry in ports)


def _trusting(render: Render, namespace: str, name: str) -> str | None:
    """The identity whose federated credential has this subject, by the values that Terraform gives."""
    values = render.values
    if (namespace, name) == ("controlnet", "serving"):
        return values["serving"]["serviceAccount"]["clientId"]
    if (namespace, name) == ("mlflow", "mlflow"):
        return values["mlflow"]["serviceAccount"]["clientId"]
    if name == "tenant" and namespace.startswith("team-"):
        return values["teams"][namespace.removeprefix("team-")]["clientId"]
    return None
