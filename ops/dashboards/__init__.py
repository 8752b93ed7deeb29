"""Grafana's dashboards as code: boards of panels here, the JSON that Grafana imports in `json/`.

    python -m ops.dashboards          write json/ again

A panel is a title that a stranger understands, what it means, a unit and PromQL. Metrics are those of
`serve.telemetry.names`; those of others (Ray, KubeRay, DCGM) are listed in `names`, and panels that need what a laptop
lacks say so: `requires: GPU`.
"""
