"""What NetworkPolicies allow, by the rules of Kubernetes.

Whoever no policy selects is open; whoever one selects is shut but for what policies open. A connection needs both ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from tests.infra.charts import Document


@dataclass(frozen=True)
class Peer:
    """One end of a connection.

    Attributes:
        namespace: Name of it; none is outside the cluster.
        labels: Of the pod.
        namespace_labels: Of its namespace, beside the one with its name, which Kubernetes sets.
        address: Outside the cluster.
    """

    namespace: str | None
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    address: str | None = None


def outside(address: str) -> Peer:
    """Somebody who is no pod."""
    return Peer(None, {}, {}, address)


def allowed(documents: Iterable[Document], source: Peer, target: Peer, port: int) -> bool:
    """Whether a pod may open a TCP connection."""
    policies = [document for document in documents if document["kind"] == "NetworkPolicy"]
    out = _open(policies, source, target, port, "Egress", "egress", "to")
    return out and _open(policies, target, source, port, "Ingress", "ingress", "from")


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for term in selector.get("matchExpressions", []):
        has, value = term["key"] in labels, labels.get(term["key"])
        verdict = {
            "In": has and value in term.get("values", []),
            "NotIn": value not in term.get("values", []),
            "Exists": has,
            "DoesNotExist": not has,
        }[term["operator"]]
        if not verdict:
            return False
    return True


def _open(policies: Sequence[Document], pod: Peer, other: Peer, port: int, kind: str, rules: str, peers: str) -> bool:
    if pod.namespace is None:
        return True  # walls stand around pods
    mine = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and kind in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], pod.labels)
    ]
    if not mine:
        return True
    return any(
        (not rule.get("ports") or any(_port(entry, port) for entry in rule["ports"]))
        and (not rule.get(peers) or any(_peer(entry, pod, other) for entry in rule[peers]))
        for spec in mine
        for rule in spec.get(rules, [])
    )


def _port(entry: Mapping[str, Any], port: int) -> bool:
    return entry.get("protocol", "TCP") == "TCP" and entry.get("port", port) == port


def _peer(entry: Mapping[str, Any], pod: Peer, other: Peer) -> bool:
    if "ipBlock" in entry:
        if other.address is None:
            return False
        block, address = entry["ipBlock"], ip_address(other.address)
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(hole) for hole in block.get("except", [])
        )
    if other.namespace is None:
        return False
    if "namespaceSelector" in entry:
        labels = {**other.namespace_labels, "kubernetes.io/metadata.name": other.namespace}
        if not matches(entry["namespaceSelector"], labels):
            return False
    elif other.namespace != pod.namespace:
        return False
    return matches(entry.get("podSelector", {}), other.labels)
