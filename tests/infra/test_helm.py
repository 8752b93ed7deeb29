"""Every platform that the charts make is asked every question of `checks`, and held to every schema there is."""

import itertools
import json
import re
from collections import Counter
from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest
import yaml

from serve.config import Settings
from serve.registry import ENVIRONMENT
from tests.infra import checks
from tests.infra.charts import (
    ENVIRONMENTS,
    HELM,
    LIMITS,
    ROOT,
    Charts,
    built,
    client,
    foreign,
    images,
    merged,
    platform,
    teams,
    terraform,
)
from tests.infra.parties import WHO
from tests.infra.walls import Peer, allowed

pytestmark = pytest.mark.infra

MATRIX = list(itertools.product(ENVIRONMENTS, (0, 1, 20), (False, True)))
IDS = [f"{environment}-{n}-{'dedicated' if dedicated else 'shared'}" for environment, n, dedicated in MATRIX]
AZURE = ROOT / "docs" / "azure"
HPA = "HorizontalPodAutoscaler"
CHARTS = ("serving", "mlflow", "observability", "tenant", "gpu")


@pytest.fixture(params=MATRIX, ids=IDS)
def renders(request, rendered):
    return rendered(*request.param)


@pytest.fixture
def prod(rendered):
    return rendered("prod", 1, False)[0]


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_each_platform_is_right(renders, check):
    for render in renders:
        check(render)


def test_each_object_is_valid_strictly(renders, schemas):
    faults = [fault for render in renders for document in render.documents for fault in schemas.faults(document)]
    assert not faults, "\n".join(faults)


def test_a_misspelt_field_is_a_fault(prod, schemas):
    api = merged(prod.one("Deployment", "api"), {"spec": {"replica": 3}})
    ray = merged(prod.one("RayService", "serving"), {"spec": {"rayClusterConfig": {"rayVersoin": "2.60.0"}}})
    assert schemas.faults(api)
    assert schemas.faults(ray)


@pytest.mark.parametrize("n", [0, 20])
def test_nothing_runs_in_prod_that_no_digest_names(rendered, n):
    for render in rendered("prod", n, False):
        checks.images_are_digests(render)


def test_prod_refuses_an_image_without_a_digest(charts):
    given = [charts.file("prod"), terraform(), images()]
    with pytest.raises(Exception, match=r"global\.images\.gpu\.digest is missing"):
        charts.render(*given, {"global": {"images": {"gpu": {"digest": ""}}}})


def test_prod_asks_by_which_host_it_is_called(charts):
    shipped = yaml.safe_load((HELM / "platform" / "values-prod.yaml").read_text())
    with pytest.raises(Exception, match=r"ingress/(host|tlsSecret)"):
        charts.render(shipped, terraform(), images())


def commands():
    """What the pages have one type to install the platform: their text, and the page."""
    for page in (*sorted(AZURE.glob("*.md")), HELM / "README.md", HELM / "platform" / "values.yaml"):
        text = re.sub(r"\\\n[# ]*", "", page.read_text())
        for found in re.findall(r"helm (?:upgrade --)?install (?:\w+) k8s/helm/platform (.*)", text):
            yield pytest.param(found, id=f"{page.name}-{'-'.join(re.findall(r'values-(.*?)[.]', found))}")


def studio():
    """The values of a team's own platform, as the page has them."""
    text = re.search(r"# studio.yaml\n(.*?)```", (AZURE / "add-a-team.md").read_text(), re.DOTALL)[1]
    return yaml.safe_load(text.replace("<its clientId in build/azure.json>", client(0)))


def asked(render, clusters, apis):
    """What the pods of a platform ask for, at most: of so many Ray clusters and api pods at once; and how many pods."""
    cluster = _cluster(render)
    _, samplers = json.loads(render.one("ConfigMap", "serving-settings")["data"]["CN_SAMPLER_REPLICAS"])
    workers = {
        f"RayService/serving/{group['groupName']}": group["maxReplicas"] for group in cluster["workerGroupSpecs"]
    }
    needed, pools = Counter(), set()
    for pod in render.pods():
        component = pod.labels["controlnet.io/component"]
        if component == "ray-sampler" and component in pools:
            continue  # a pool beside another: Serve wants so many in all
        pools.add(component)
        times = apis if component == "api" else 1
        if pod.owner.startswith("RayService/"):
            times = clusters * (samplers if component == "ray-sampler" else workers.get(pod.owner, 1))
        beside = [cluster["autoscalerOptions"]] if component == "ray-head" else []
        for container in (*pod.spec["containers"], *beside):
            for key in ("cpu", "memory", checks.GPU):
                needed[f"requests.{key}"] += times * checks.size(container["resources"]["requests"].get(key, "0"))
            needed["limits.memory"] += times * checks.size(container["resources"]["limits"]["memory"])
        needed["pods"] += times
    return needed


def test_a_teams_quota_on_the_page_holds_an_upgrade_of_its_platform(charts):
    given = [charts.file("prod"), terraform(["studio"]), images()]
    render = charts.render(*given, charts.file("dedicated"), studio(), name="studio", namespace="team-studio")
    needed = asked(render, 2, render.one(HPA, "api")["spec"]["maxReplicas"] + 1)
    said = yaml.safe_load(re.search(r"`teams: (\{studio: .*?\})`", (AZURE / "add-a-team.md").read_text())[1])
    shared = charts.render(*given, {"tenants": [{"name": "studio"}], "teams": said})
    hard = shared.one("ResourceQuota", "tenant")["spec"]["hard"]
    assert {key: (n, hard[key]) for key, n in needed.items() if n > checks.size(hard[key])} == {}
    for key in ("requests.cpu", "limits.memory"):
        assert checks.size(hard[key]) < 1.2 * needed[key], key


def test_kind_is_told_to_have_what_its_pods_ask_for(charts):
    render = charts.render(charts.file("kind"), {"tenants": [{"name": "demo"}]})
    page = (AZURE / "kind.md").read_text()
    needed = asked(render, 1, 1)
    told = {r"ask for (\d+) CPUs and (\d+) GiB": needed}
    told[r"second cluster meanwhile, of (\d+) CPUs and (\d+) GiB"] = asked(render, 2, 1) - needed
    for words, there in told.items():
        cpus, memory = map(int, re.search(words, page).groups())
        assert 0 <= cpus - there["requests.cpu"] < 1, words
        assert 0 <= memory - there["requests.memory"] / 1024**3 < 1, words


@pytest.mark.parametrize("command", list(commands()))
def test_the_platform_is_rendered_from_the_files_that_the_pages_name(charts, command):
    known = {
        **{
            f"k8s/helm/platform/{file.name}": yaml.safe_load(file.read_text())
            for file in (HELM / "platform").glob("values-*.yaml")
        },
        "tenants.yaml": {"tenants": [{"name": "studio"}]},
        "build/azure.json": terraform(["studio"]),
        "build/images.yaml": built(),
        "build/foreign-images.yaml": foreign(),
        "studio.yaml": studio(),
    }
    names = [re.sub(r"^.*/(?=tenants.yaml)", "", name) for name in re.findall(r"-f (\S+)", command)]
    namespace = re.search(r"-n(?:amespace)? (\S+)", command)[1]
    said = {}
    for path, value in re.findall(r"--set ([\w.]+)=(\S+)", command):
        for key in reversed(path.split(".")):
            value = {key: value}
        said = merged(said, value)
    render = charts.render(*(known[name] for name in names), said, namespace=namespace)
    assert render.of("RayService")
    if any("prod" in name for name in names):
        checks.images_are_digests(render)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"serving": {"jobTimeuot": 60}}, "jobTimeuot"),
        ({"serving": {"ray": {"samplers": []}}}, "samplers"),
        ({"serving": {"ray": {"upgradeStrategy": {"type": "NewClusterWithIncrementalUpgrade"}}}}, "upgradeStrategy"),
        ({"serving": {"api": {"ingress": {"enabled": True, "host": ""}}}}, "host"),
        ({"mlflow": {"artifacts": {"kind": "nfs"}}}, "kind"),
        ({"global": {"azure": {"storageAccount": "No_Such"}}}, "storageAccount"),
        ({"teams": {"studio": {"gpus": -1}}}, "gpus"),
        ({"tenants": [{"name": "Studio"}]}, "name"),
        ({"gpu": {"driver": True}}, "driver"),
        ({"observability": {"prometheus": "thanos"}}, "prometheus"),
        ({"tenant": {"team": {"cpus": 1}}}, "cpus"),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(charts, wrong, named):
    with pytest.raises(Exception, match=named):
        charts.render(charts.file("prod"), terraform(), images(), wrong)


def test_a_team_must_be_declared_before_the_cluster_gives_it_anything(charts):
    with pytest.raises(Exception, match=r"teams\.ghost is no name in tenants"):
        charts.render(charts.file("prod"), terraform(["ghost"]), images())


def test_a_team_whose_namespace_would_have_too_long_a_name_is_refused(charts):
    with pytest.raises(Exception, match="a namespace's name has 63 characters"):
        charts.render(charts.file("kind"), {"tenants": [{"name": "a" * 59}]})


def test_lint_is_strict(charts):
    from helm_python.chart import lint

    umbrella = merged(charts.file("prod"), terraform(), images())
    for folder in ("platform", *(f"charts/{name}" for name in CHARTS)):
        values = umbrella if folder == "platform" else {"global": umbrella["global"]}
        found = lint(str(charts.folder / folder), values, strict=True, kube_version="v1.32.0")
        assert found["errors"] == [], (folder, found["errors"])
        assert [m["error"] for m in found["messages"]] == ["icon is recommended"], (folder, found["messages"])


def test_the_copies_of_the_common_templates_are_equal():
    copies = [HELM / "platform" / "templates" / "_common.tpl"]
    copies += [HELM / "charts" / name / "templates" / "_common.tpl" for name in CHARTS]
    assert len({copy.read_text() for copy in copies}) == 1


def test_the_platforms_own_namespace_is_restricted_and_known_to_the_registry():
    namespace = yaml.safe_load((HELM / "namespace.yaml").read_text())
    labels = namespace["metadata"]["labels"]
    assert namespace["metadata"]["name"] == "controlnet"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["controlnet.io/serving"] == "true"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_registry_answers_by_every_name_that_is_used(rendered, environment):
    server = pytest.importorskip("mlflow.server.security_utils")
    render = rendered(environment, 1, False)[0]
    (container,) = render.one("Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    (named,) = [entry["value"] for entry in container["env"] if entry["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS"]
    used = {render.one("ConfigMap", "serving-settings")["data"]["CN_MLFLOW_TRACKING_URI"]}
    for page in AZURE.glob("*.md"):
        used |= set(re.findall(r"MLFLOW_TRACKING_URI=(\S+)", page.read_text()))
    assert len(used) > 1
    refused = {url for url in used if not server.is_allowed_host_header(named.split(","), urlsplit(url).netloc)}
    assert refused == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_setting_is_one_of_the_programs(rendered, environment, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    data = rendered(environment, 1, False)[0].one("ConfigMap", "serving-settings")["data"]
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    known = {f"CN_{field.upper()}" for field in Settings.model_fields}
    assert {name for name in data if name.startswith("CN_")} <= known
    settings = Settings()
    assert settings.job_timeout == 600
    assert settings.sampler_gpus == (0 if environment == "kind" else 1)
    assert settings.artifacts_options == ({} if environment == "kind" else {"account_name": "cnstore"})
    assert {name: data[name] for name in ENVIRONMENT} == dict(ENVIRONMENT)


@pytest.mark.parametrize(
    "changed",
    [
        {"ray": {"samplerReplicas": {"max": 7}}},
        {"ray": {"imagingReplicas": {"max": 7}}},
        {"settings": {"max_steps": 42}},
        {"logLevel": "debug"},
    ],
    ids=lambda changed: json.dumps(changed),
)
def test_a_changed_setting_is_a_new_cluster(charts, changed):
    given = [charts.file("prod"), terraform(), images()]
    old, new = (_cluster(charts.render(*given, {"serving": other})) for other in ({}, changed))
    assert old != new


def test_a_chart_that_only_has_another_version_is_no_new_cluster(prod, tmp_path):
    def bump(folder):
        file = folder / "charts" / "serving" / "Chart.yaml"
        file.write_text(re.sub(r"^appVersion: .*$", "appVersion: 9.9.9", file.read_text(), flags=re.MULTILINE))

    later = Charts(tmp_path, bump)
    render = later.render(later.file("prod"), terraform(["team0"]), images(), {"tenants": teams(1)})
    assert render.one("RayService", "serving")["metadata"]["labels"]["app.kubernetes.io/version"] == "9.9.9"
    assert _cluster(render) == _cluster(prod)


def _cluster(render):
    """What makes KubeRay start a second cluster when it changes."""
    return render.one("RayService", "serving")["spec"]["rayClusterConfig"]


def test_ray_serve_reads_the_configuration_and_its_deployments_are_the_programs(prod, monkeypatch):
    schema = pytest.importorskip("ray.serve.schema")
    from ray.serve._private.build_app import build_app

    from serve.deployments import ray_service

    for name, value in prod.one("ConfigMap", "serving-settings")["data"].items():
        monkeypatch.setenv(name, value)
    text = prod.one("RayService", "serving")["spec"]["serveConfigV2"]
    config = schema.ServeDeploySchema.model_validate(yaml.safe_load(text))
    assert {application.import_path for application in config.applications} == {
        "serve.deployments.ray_service:platform",
        "serve.deployments.ray_service:health",
    }
    for application in config.applications:
        build = getattr(ray_service, application.import_path.partition(":")[2])
        made = {d.name: d.ray_actor_options for d in build_app(build({}), name=application.name).deployments}
        given = {d.name: d.ray_actor_options.model_dump(exclude_unset=True) for d in application.deployments}
        placed = {name: {k: v for k, v in options.items() if k != "resources"} for name, options in given.items()}
        # What is given replaces what the code says: so it says the same, and where.
        assert {name: {k: v for k, v in options.items() if v} for name, options in placed.items()} == {
            name: {k: v for k, v in options.items() if v and k != "runtime_env"} for name, options in made.items()
        }
        assert all(options["resources"] for options in given.values())


CASES = [
    {"name": "studio"},
    {"name": "studio", "weight": 2, "models": ["a"], "limits": LIMITS},
    {"name": "studio", "weight": 0.5, "limits": {}},
    {"name": "studio", "limits": {"gflop_per_day": 5.0e7, "retention_days": 0.5}},
    {"name": "studio", "limits": {"queued_jobs": None}},
    {"name": "a" * 63},
    {"name": "a" * 64},
    {"name": "Studio"},
    {"name": "-studio"},
    {"name": ""},
    {"weight": 1},
    {"name": "studio", "weight": 0},
    {"name": "studio", "weight": 1001},
    {"name": "studio", "weight": "2"},
    {"name": "studio", "models": []},
    {"name": "studio", "models": [""]},
    {"name": "studio", "models": "a"},
    {"name": "studio", "limits": {"queued_jobs": 0}},
    {"name": "studio", "limits": {"queued_jobs": 1.5}},
    {"name": "studio", "limits": {"max_image": 1}},
    {"name": "studio", "limits": {"retention_days": 3651}},
    {"name": "studio", "limits": {"gflop_per_day": 0}},
    {"name": "studio", "limits": None},
    {"name": "studio", "role": "admin"},
]


def test_chart_and_api_agree_on_what_a_team_may_be(charts, tmp_path):
    declared = pytest.importorskip("serve.tenancy.declared", reason="serve.tenancy is not here yet")
    file = tmp_path / "tenants.yaml"

    def api_takes(case):
        file.write_text(json.dumps({"tenants": [case]}))
        try:
            return bool(declared.read(file))
        except declared.DeclarationError:
            return False

    def chart_takes(case):
        try:
            return bool(charts.render(charts.file("kind"), {"tenantNamespaces": False, "tenants": [case]}).documents)
        except Exception:
            return False

    verdicts = {json.dumps(case): (chart_takes(case), api_takes(case)) for case in CASES}
    assert {case: pair for case, pair in verdicts.items() if pair[0] != pair[1]} == {}
    assert {chart for chart, _ in verdicts.values()} == {True, False}


def test_the_api_reads_the_quotas_that_the_values_declare(rendered, tmp_path):
    declared = pytest.importorskip("serve.tenancy.declared", reason="serve.tenancy is not here yet")
    file = tmp_path / "tenants.yaml"
    file.write_text(rendered("prod", 20, False)[0].one("ConfigMap", "tenants")["data"]["tenants.yaml"])
    found = [
        {"name": t.name, "weight": t.weight, "models": list(t.limits.models), "limits": t.limits.to_json()}
        for t in declared.read(file)
    ]
    for team in found:
        team["limits"].pop("models")
    assert found == teams(20)


@pytest.mark.parametrize("prometheus", ["operator", "managed"])
def test_one_switch_turns_to_azures_prometheus(charts, schemas, prometheus):
    render = charts.render(charts.file("prod"), terraform(), images(), {"observability": {"prometheus": prometheus}})
    groups = {d["apiVersion"].split("/")[0] for d in render.of("PodMonitor", "ServiceMonitor")}
    assert groups == {"azmonitoring.coreos.com" if prometheus == "managed" else "monitoring.coreos.com"}
    assert bool(render.of("PrometheusRule")) == (prometheus == "operator")
    assert not [fault for document in render.documents for fault in schemas.faults(document)]


def test_the_clusters_prometheus_has_the_rules_and_dashboards_of_ops(charts):
    render = charts.render(charts.file("prod"), terraform(), images(), {"observability": {"prometheus": "operator"}})
    groups = [group for document in render.of("PrometheusRule") for group in document["spec"]["groups"]]
    files = sorted((ROOT / "ops" / "prometheus" / "rules").glob("*.yml"))
    assert groups == [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    boards = {
        name: text
        for d in render.of("ConfigMap")
        if "grafana_dashboard" in d["metadata"]["labels"]
        for name, text in d["data"].items()
    }
    assert boards == {file.name: file.read_text() for file in (ROOT / "ops" / "dashboards" / "json").glob("*.json")}


def test_what_is_scraped_is_relabelled_alike_everywhere(charts):
    render = charts.render(charts.file("prod"), terraform(), images(), {"observability": {"prometheus": "operator"}})
    (api,) = render.one("ServiceMonitor", "api")["spec"]["endpoints"]
    ports = render.one("PodMonitor", "ray")["spec"]["podMetricsEndpoints"]
    chart = {"api": api["metricRelabelings"], "ray": ports[0]["metricRelabelings"]}
    assert all(port["metricRelabelings"] == chart["ray"] for port in ports)
    for file in ("prometheus/prometheus.yml", "docker/prometheus.yaml"):
        jobs = yaml.safe_load((ROOT / "ops" / file).read_text())["scrape_configs"]
        assert {job["job_name"]: [_camel(rule) for rule in job["metric_relabel_configs"]] for job in jobs} == chart


def _camel(rule):
    """A rule of Prometheus' own as its operator spells it."""
    return {re.sub("_(.)", lambda found: found[1].upper(), name): value for name, value in rule.items()}


def test_a_collector_is_whole_and_shut_off(charts, schemas):
    wanted = {"global": {"traces": {"endpoint": "tempo.monitoring:4317"}}}
    render = charts.render(charts.file("prod"), terraform(), images(), wanted)
    for check in checks.ALL:
        check(render)
    checks.images_are_digests(render)
    assert not [fault for document in render.documents for fault in schemas.faults(document)]
    settings = yaml.safe_load(render.one("ConfigMap", "collector")["data"]["collector.yaml"])
    assert settings["exporters"]["otlp"]["endpoint"] == "tempo.monitoring:4317"
    (port,) = render.one("Service", "collector")["spec"]["ports"]
    sent_to = render.one("ConfigMap", "serving-settings")["data"]["CN_OTLP_ENDPOINT"]
    assert sent_to == f"http://collector.{render.namespace}.svc.cluster.local:{port['port']}"
    assert settings["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(f":{port['port']}")
    collector = Peer(
        render.namespace, render.one("Deployment", "collector")["spec"]["template"]["metadata"]["labels"], {}
    )
    for name in ("api", "head", "sampler"):
        assert allowed(render.documents, WHO[name], collector, 4318), name
    assert not allowed(render.documents, WHO["team0"], collector, 4318)


def test_a_team_may_come_by_a_release_of_its_own(charts, rendered):
    alone = charts.render_alone("tenant", {"name": "team0", "team": {"gpus": 0}}, "controlnet")
    inside = [d for d in rendered("kind", 1, False)[0].documents if d["metadata"].get("namespace") == "team-team0"]
    assert {(d["kind"], d["metadata"]["name"]) for d in inside} == {
        (d["kind"], d["metadata"]["name"]) for d in alone.documents if d["kind"] != "Namespace"
    }
    assert {(d["kind"], d["metadata"]["name"]): d.get("spec") for d in inside} == {
        (d["kind"], d["metadata"]["name"]): d.get("spec") for d in alone.documents if d["kind"] != "Namespace"
    }


def test_kueue_holds_a_teams_own_platform_when_asked(charts):
    given = [charts.file("prod"), terraform(["team0"]), images(), {"tenants": teams(1)}]
    shared = charts.render(*given, {"teams": {"team0": {"clusterQueue": "gpus"}}})
    assert shared.one("LocalQueue", "tenant")["spec"] == {"clusterQueue": "gpus"}
    own = charts.render(*given, charts.file("dedicated"), {"serving": {"queueName": "tenant"}}, namespace="team-team0")
    assert own.one("RayService", "serving")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "tenant"


# Walls: who reaches whom in a production with two teams, the first with a platform of its own.

OPEN = [
    *[("ingress", "api", 8000), ("team1", "api", 8000), ("prometheus", "api", 9100)],
    *[("api", "postgresql", 5432), ("api", "storage", 443), ("declaration", "postgresql", 5432)],
    *[("head", "sampler", 6379), ("sampler", "head", 6379), ("dispatcher", "sampler", 20000)],
    *[("operator", "head", 8265), ("operator", "head", 8000), ("prometheus", "sampler", 8080)],
    *[("sampler", "mlflow", 5000), ("dispatcher", "mlflow", 5000), ("dispatcher", "postgresql", 5432)],
    *[("head", "redis", 10000), ("sampler", "storage", 443), ("mlflow", "postgresql", 5432)],
    *[("team0", "team0-api", 8000), ("team0-sampler", "mlflow", 5000), ("team1", "storage", 443)],
]
SHUT = [
    *[("ingress", "api", 9100), ("elsewhere", "api", 8000), ("team1", "api", 9100), ("stranger", "api", 8000)],
    *[("team1", "head", 8265), ("team1", "head", 6379), ("team1", "sampler", 8000), ("elsewhere", "head", 8265)],
    *[("api", "head", 8265), ("api", "sampler", 8000), ("stranger", "head", 6379), ("ingress", "head", 8000)],
    *[("team1", "mlflow", 5000), ("team0", "mlflow", 5000), ("api", "mlflow", 5000), ("elsewhere", "mlflow", 5000)],
    *[("team0", "team1", 8000), ("team1", "team0", 8000), ("team1", "team0-api", 8000), ("team0", "api", 8000)],
    *[("team0-sampler", "head", 6379), ("sampler", "team0-sampler", 6379), ("team1", "team0-sampler", 8000)],
    *[("api", "metadata", 80), ("team1", "metadata", 80), ("sampler", "metadata", 443), ("stranger", "storage", 443)],
    *[("dispatcher", "receiver", 8443), ("dispatcher", "receiver", 80)],
    *[("team1", "postgresql", 5432), ("api", "storage", 80), ("sampler", "storage", 22), ("operator", "api", 8000)],
]


@pytest.fixture
def walls(rendered):
    return [document for render in rendered("prod", 20, True) for document in render.documents]


@pytest.mark.parametrize(("source", "target", "port"), OPEN)
def test_the_opening_is_there(walls, source, target, port):
    assert allowed(walls, WHO[source], WHO[target], port)


@pytest.mark.parametrize(("source", "target", "port"), SHUT)
def test_the_wall_stands(walls, source, target, port):
    assert not allowed(walls, WHO[source], WHO[target], port)


@pytest.mark.parametrize("as_text", [False, True])
def test_webhooks_are_called_on_the_ports_that_their_hosts_name(charts, schemas, as_text):
    hosts = ["hooks.example.com", "*.example.org:8443", "alerts.example.net:8443", "[::1]"]
    settings = {"webhook_hosts": json.dumps(hosts) if as_text else hosts}
    render = charts.render(charts.file("prod"), terraform(), images(), {"serving": {"settings": settings}})
    assert not schemas.faults(render.one("NetworkPolicy", "serving-webhooks"))

    def reach(source, target, port):
        return allowed(render.documents, WHO[source], WHO[target], port)

    assert reach("dispatcher", "receiver", 443)
    assert reach("dispatcher", "receiver", 8443)
    assert not reach("dispatcher", "receiver", 8444)
    assert not reach("dispatcher", "metadata", 8443)
    assert not reach("dispatcher", "postgresql", 8443)
    assert not reach("sampler", "receiver", 8443)
    assert not reach("api", "receiver", 8443)


def test_everybody_who_needs_names_gets_them(walls):
    dns = Peer("kube-system", {"k8s-app": "kube-dns"}, {})
    udp = [
        policy
        for policy in walls
        if policy["kind"] == "NetworkPolicy"
        and any({"port": 53, "protocol": "UDP"} in rule.get("ports", []) for rule in policy["spec"].get("egress", []))
    ]
    assert {policy["metadata"]["namespace"] for policy in udp} >= {"controlnet", "mlflow", "team-team0", "team-team1"}
    for name in ("api", "head", "sampler", "declaration", "mlflow", "team0", "team1"):
        assert allowed(walls, WHO[name], dns, 53), name


# Terraform's side.


@pytest.fixture(scope="module")
def modules():
    folder = ROOT / "infra" / "terraform" / "modules"
    return {module.name: "\n".join(f.read_text() for f in sorted(module.glob("*.tf"))) for module in folder.iterdir()}


def test_the_taint_that_is_tolerated_is_the_pools(modules):
    pool = modules["gpu-node-pool"]
    assert f'"{checks.TAINT["key"]}={checks.TAINT["value"]}:{checks.TAINT["effect"]}"' in pool
    assert re.search(rf'"{checks.POOL[0]}"\s*=\s*"{checks.POOL[1]}"', pool)
    assert checks.SPOT["key"] in pool


def test_the_subjects_that_are_federated_are_the_charts_accounts(modules, rendered):
    platform = modules["platform"]
    accounts = set(re.findall(r'service_account\s*=\s*"(\w+)"', platform))
    render = rendered("prod", 1, False)[0]
    named = {a["metadata"]["name"] for a in render.of("ServiceAccount") if "annotations" in a["metadata"]}
    assert named == accounts
    namespaces = {a["metadata"]["namespace"] for a in render.of("ServiceAccount")}
    assert namespaces == {"controlnet", "mlflow", "team-team0"}
    for text in ('serving = "controlnet"', 'mlflow = "mlflow"', '"team-${name}"'):
        assert text in platform


def test_what_terraform_says_are_values_of_the_chart(modules, charts):
    said = re.search(r'output "helm_values" \{.*?\n\}\n', modules["platform"], re.DOTALL)
    assert said is not None
    keys = set(re.findall(r"(\w+)\s*=(?![=>])", said[0])) - {"description", "value"}
    known = set(re.findall(r'"(\w+)":', json.dumps(terraform(["x"])))) - {"x"}
    # A list would replace the teams' declarations, as Helm merges by key only: so it is `teams`, by name.
    assert keys == known


def test_the_walls_name_the_networks_endpoints(modules, charts):
    prefixes = re.search(r"zipmap\(\s*\[(.*?)\],\s*cidrsubnets\(var\.address_space, (.*?)\)", modules["network"])
    space = re.search(r'default\s*=\s*"([\d.]+/16)"', modules["platform"])
    assert prefixes is not None
    assert space is not None
    at, cidrs = int(ip_network(space[1]).network_address), {}
    for name, bits in zip(re.findall(r'"(\w+)"', prefixes[1]), map(int, prefixes[2].split(",")), strict=True):
        size = 1 << (16 - bits)
        at = -(-at // size) * size
        cidrs[name] = str(ip_network((at, 16 + bits)))
        at += size
    for environment in ("dev", "prod"):
        values = charts.file(environment)
        wanted = [cidrs["endpoints"], cidrs["postgres"]]
        assert values["serving"]["networkPolicy"]["privateEndpoints"] == wanted
        assert values["mlflow"]["privateEndpoints"] == wanted


def test_the_matrix_renders_what_its_names_say(charts):
    shared, own = platform(charts, "prod", 1, True)
    assert own.namespace == "team-team0"
    assert [team["name"] for team in own.values["tenants"]] == ["team0"]
    assert json.loads(shared.one("ConfigMap", "tenants")["data"]["tenants.yaml"]) == {"tenants": []}
