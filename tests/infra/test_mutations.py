"""One protection less, and a named test of Terraform's turns red: a test that stays green protects nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.terraform import Terraform, Verdict, copy

pytestmark = pytest.mark.infra


@dataclass(frozen=True)
class Mutation:
    """What is taken away, and which run of which folder must say so."""

    protection: str
    file: str
    before: str
    after: str
    folder: str
    red: str


MUTATIONS = [
    Mutation(
        "the GPU taint",
        "modules/gpu-node-pool/main.tf",
        'concat(["nvidia.com/gpu=present:NoSchedule"], ',
        "concat([], ",
        "modules/gpu-node-pool",
        "cpu_work_stays_off_gpu_nodes",
    ),
    Mutation(
        "the taint of spot nodes",
        "modules/gpu-node-pool/main.tf",
        'var.spot ? ["${local.spot}=spot:NoSchedule"] : []',
        "[]",
        "modules/gpu-node-pool",
        "spot_nodes_have_their_own_taint",
    ),
    Mutation(
        "the private API server",
        "modules/aks/main.tf",
        "= var.private_cluster_enabled\n",
        "= false\n",
        "modules/aks",
        "the_api_server_is_private",
    ),
    Mutation(
        "local accounts off",
        "modules/aks/main.tf",
        "local_account_disabled = true",
        "local_account_disabled = false",
        "modules/aks",
        "local_accounts_are_off",
    ),
    Mutation(
        "the federated subject",
        "modules/workload-identity/main.tf",
        "system:serviceaccount:${var.namespace}:${var.service_account}",
        "system:serviceaccount:${var.namespace}:default",
        "modules/workload-identity",
        "one_service_account_is_this_identity",
    ),
    Mutation(
        "a team's own namespace",
        "modules/platform/main.tf",
        'namespace = "team-${name}"',
        'namespace = "controlnet"',
        "modules/platform",
        "an_identity_is_one_service_account",
    ),
    Mutation(
        "keyless storage",
        "modules/storage/main.tf",
        "shared_access_key_enabled = false",
        "shared_access_key_enabled = true",
        "modules/storage",
        "no_key_opens_the_account",
    ),
    Mutation(
        "private storage",
        "modules/storage/main.tf",
        "public_network_access_enabled = false",
        "public_network_access_enabled = true",
        "modules/storage",
        "the_account_is_private",
    ),
    Mutation(
        "purge protection",
        "modules/keyvault/main.tf",
        "purge_protection_enabled = true",
        "purge_protection_enabled = false",
        "modules/keyvault",
        "a_deletion_is_never_final",
    ),
    Mutation(
        "the wall around data",
        "modules/network/main.tf",
        '"Deny"',
        '"Allow"',
        "modules/network",
        "only_nodes_reach_data",
    ),
    Mutation(
        "rules that are evaluated",
        "modules/observability/rules.tf",
        "enabled     = true # likewise\n",
        "",
        "modules/observability",
        "what_is_written_is_evaluated",
    ),
    Mutation(
        "no password at the registry",
        "modules/registry/main.tf",
        "admin_enabled = false",
        "admin_enabled = true",
        "modules/registry",
        "nobody_signs_in_with_a_password",
    ),
    Mutation(
        "keyless state",
        "bootstrap/main.tf",
        "shared_access_key_enabled = false",
        "shared_access_key_enabled = true",
        "bootstrap",
        "no_key_opens_the_state",
    ),
    Mutation(
        "the locks of prod",
        "envs/prod/main.tf",
        "locked = true",
        "locked = false",
        "envs/prod",
        "prod_loses_nothing",
    ),
    Mutation(
        "prod's private API server",
        "modules/platform/main.tf",
        "private_cluster_enabled = var.private\n  authorized_ip_ranges = var.operator_ips",
        'private_cluster_enabled = false\n  authorized_ip_ranges = ["203.0.113.7/32"]',
        "envs/prod",
        "prod_has_no_public_address",
    ),
]


@pytest.fixture(scope="module")
def tested(
    request: pytest.FixtureRequest, terraform: Terraform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Verdict]]]:
    """Every mutation that this session asks for, each in a copy of its own, two at a time."""

    def test(mutation: Mutation, folder: Path) -> Verdict:
        tree = copy(folder)
        file = tree / mutation.file
        before = re.sub(r"(\\ )+", " +", re.escape(mutation.before))  # `terraform fmt` aligns as it likes
        text, count = re.subn(before, lambda _: mutation.after, file.read_text(encoding="utf-8"))
        assert count == 1, f"{mutation.file} has not one {mutation.before!r}"
        file.write_text(text, encoding="utf-8")
        only(tree / mutation.folder, mutation.red)
        terraform.init(tree / mutation.folder)
        return terraform.test(tree / mutation.folder)

    asked = [
        item.callspec.params["mutation"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    ]
    with ThreadPoolExecutor(2) as pool:
        yield {each.protection: pool.submit(test, each, tmp_path_factory.mktemp("mutation")) for each in asked}


def only(folder: Path, run: str) -> None:
    """Leave one run of a folder's tests: no other can be red for it, and each costs a provider's start."""
    for file in (folder / "tests").glob("*.tftest.hcl"):
        head, *runs = re.split(r'^(?=run ")', file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        kept = [text for text in runs if text.startswith(f'run "{run}"')]
        assert len(kept) == 1, f"{file.name} has not one run {run}"
        file.write_text(head + kept[0], encoding="utf-8")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.protection.replace(" ", "_"))
def test_without_it_a_test_turns_red(tested: Mapping[str, Future[Verdict]], mutation: Mutation) -> None:
    found = tested[mutation.protection].result()

    assert found.red == {mutation.red}, found.output
