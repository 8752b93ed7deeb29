import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, distributions, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.docker.sbom import bill

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "ops" / "docker"
HEAVY = {"torch", "ray", "transformers", "mlflow", "diffusers"}
IMPORTED = """
import json, sys
import serve.api.__main__, serve.cli
print(json.dumps([name for name, module in sys.modules.items()
                  if "site-packages" in (getattr(module, "__file__", None) or "")]))
"""
CONTAINERFILES = sorted(DOCKER.glob("*.Containerfile"))


def installed_by(names):
    """Those distributions and whatever they require, here."""
    found, left = set(), [Requirement(name) for name in names]
    while left:
        wanted = left.pop()
        key = (canonicalize_name(wanted.name), tuple(sorted(wanted.extras)))
        if key in found:
            continue
        found.add(key)
        for text in distribution(wanted.name).requires or []:
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                left.append(needed)
    return {name for name, _ in found}


def requirements(name):
    lines = (DOCKER / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_apis_image_has_what_it_imports_and_nothing_heavy():
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTED], env=environment, capture_output=True, text=True, check=True
    )
    owners = packages_distributions()
    tops = {name.partition(".")[0] for name in json.loads(done.stdout)}
    imported = {canonicalize_name(owner) for top in tops for owner in owners.get(top, [])}
    listed = installed_by(requirements("api.txt"))
    # Used where they are, and missed nowhere.
    optional = {"setuptools", "watchfiles", "importlib-resources", "brotli", "psutil"}
    optional |= {"opentelemetry-exporter-prometheus"}  # Ray's; it shares its top name with what is imported
    assert imported - listed - optional == set()
    assert not listed & HEAVY


@pytest.mark.parametrize("name", ["api.txt"])
def test_what_an_image_lists_is_pinned(name):
    pinned = {
        canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    assert {canonicalize_name(Requirement(line).name) for line in requirements(name)} <= pinned


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.stem)
def test_an_image_is_made_in_stages_for_a_user_who_is_nobody(file):
    lines = [line.strip() for line in file.read_text().splitlines()]
    assert [line for line in lines if line.startswith("FROM ")] == ["FROM ${BASE} AS build", "FROM ${BASE}"]
    assert lines[lines.index("ARG BASE")] == "ARG BASE"  # no default: a base without a digest is not built on
    last = lines[lines.index("FROM ${BASE}") :]
    assert "USER 10001:10001" in last
    assert any("/usr/share/sbom" in line for line in last)
    assert not any(line.startswith("ADD ") for line in lines)


def test_a_base_that_could_be_moved_is_refused():
    done = subprocess.run(
        [DOCKER / "build.sh", "api"],
        env={"BASE": "docker.io/library/python:3.11", "BUILDER": "/bin/false", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "give name@sha256:" in done.stderr


def test_no_image_can_hold_weights():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[-1] == "**/*.safetensors"
    assert "*" in ignored
    weights = [path for path in (ROOT / "controlnet").rglob("*") if path.suffix in (".pt", ".pth", ".ckpt", ".bin")]
    assert weights == []


def test_the_bill_names_each_distribution_and_each_debian_package():
    status = "Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2+b8\nArchitecture: amd64\n y: z\n"
    gone = "Package: vi\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n"
    document = bill(distributions(), f"{status}\n{gone}")
    purls = {component["purl"] for component in document["components"]}
    assert "pkg:deb/debian/bash@5.2.15-2+b8?arch=amd64" in purls
    assert not any("/vi@" in purl for purl in purls)
    assert f"pkg:pypi/pytest@{pytest.__version__}" in purls
    assert document["specVersion"] == "1.6"


@pytest.fixture
def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_each_service_of_the_workstation_is_confined_and_heard_on_this_machine_only(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).exists(), f"{name}: {volume}"


def test_the_workstations_settings_are_the_programs(compose):
    from serve.config import Settings

    known = {f"CN_{field.upper()}" for field in Settings.model_fields}
    given = {name for name in compose["services"]["platform"]["environment"] if name.startswith("CN_")}
    assert given <= known


def test_the_workstation_keeps_no_secret_in_its_file(compose):
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|DATABASE|STORE_URI", key):
                assert "${" in value, f"{name}: {key}"


def test_the_workstations_prometheus_relabels_as_the_charts_does():
    chart = (ROOT / "k8s/helm/charts/observability/templates/monitors.yaml").read_text()
    ray = yaml.safe_load((DOCKER / "prometheus.yaml").read_text())["scrape_configs"][1]
    for rule in ray["metric_relabel_configs"]:
        assert f"regex: {rule['regex']}" in chart


@pytest.fixture
def tree(tmp_path):
    """A copy of what the scripts read, and a `docker` that says what it was asked about."""
    for path in ("ops/docker/build.sh", "ops/docker/foreign.sh", "k8s/helm/platform/values.yaml"):
        to = tmp_path / path
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, to)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(FAKE)
    docker.chmod(0o755)
    return tmp_path


FAKE = """#!/bin/sh
case $1 in
  inspect) image=${4##*/}; echo "x@sha256:$(printf %064d ${#image})" ;;
  buildx) echo "sha256:$(printf %064d ${#4})" ;;
esac
"""


def run(tree, script, *arguments, **environment):
    environment = {"PATH": f"{tree / 'bin'}:/usr/bin:/bin", **environment}
    subprocess.run([tree / "ops" / "docker" / script, *arguments], env=environment, check=True, cwd="/")


def written(tree, name):
    return yaml.safe_load((tree / "build" / name).read_text())["global"]["images"]


def build(tree, *names, registry="r.azurecr.io"):
    run(tree, "build.sh", *names, BASE="localhost/base", TORCH_CPU_INDEX="", REGISTRY=registry, BUILDER="docker")


def test_an_image_that_is_built_later_joins_the_others(tree):
    build(tree, "api", "gpu")
    build(tree, "mlflow")
    build(tree, "api")
    assert written(tree, "images.yaml").keys() == {"api", "gpu", "mlflow"}


def test_another_registry_has_none_of_their_digests(tree):
    build(tree, "api")
    build(tree, "gpu", registry="other.azurecr.io")
    assert written(tree, "images.yaml").keys() == {"gpu"}


def test_the_images_of_others_are_looked_up_by_the_charts_tags(tree):
    run(tree, "foreign.sh")
    images = yaml.safe_load((ROOT / "k8s/helm/platform/values.yaml").read_text())["global"]["images"]
    foreign = {name: image for name, image in images.items() if "registry" in image}
    names = {name: "{registry}/{repository}:{tag}".format(**image) for name, image in foreign.items()}
    assert written(tree, "foreign-images.yaml") == {
        name: {"digest": f"sha256:{len(image):064d}"} for name, image in names.items()
    }
    assert foreign.keys() | {"api", "cpu", "gpu", "mlflow"} == images.keys()
