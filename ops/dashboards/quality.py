"""Which model answers, and how well its images follow their maps."""

from __future__ import annotations

from ops.dashboards.board import Board, Row, panel, quantiles

QUALITY = Board(
    "quality",
    "Models and quality: does it draw what was asked?",
    "Which version is served, whether samplers hold it, and how well images follow their edges.",
    (
        Row(
            "Served",
            (
                panel(
                    "Version that new jobs get",
                    "1 for what is served. A promotion is where one line falls and another rises.",
                    "short",
                    ("max by (model, version) (cn_model_served)", "{{model}} {{version}}"),
                ),
                panel(
                    "Samplers hold it loaded and warm",
                    "1, or nothing can be made.",
                    "short",
                    ("max(cn_model_ready)", "ready"),
                ),
                panel(
                    "What keeps the champion from being served",
                    "All 0 where nothing does; else the stage at which it fails.",
                    "short",
                    ("max by (stage) (cn_registry_fault)", "{{stage}}"),
                ),
                panel(
                    "Jobs that found their bundle loaded",
                    "Share of the looks. A miss costs a load: more versions in use than fit `CN_BUNDLE_MEMORY`.",
                    "percentunit",
                    (
                        'sum(rate(cn_cache_total{outcome="hit"}[$__rate_interval]))'
                        " / sum(rate(cn_cache_total[$__rate_interval]))",
                        "hits",
                    ),
                ),
                panel(
                    "Bundles loaded",
                    "Since samplers started, by outcome.",
                    "short",
                    ("sum by (outcome) (cn_model_loads_total)", "{{outcome}}"),
                ),
                panel(
                    "Time to load and warm a bundle",
                    "Mean since samplers started.",
                    "s",
                    ("sum(cn_model_load_seconds_sum) / sum(cn_model_load_seconds_count)", "mean"),
                ),
            ),
        ),
        Row(
            "Quality",
            (
                panel(
                    "How well images follow their edges",
                    "Mean F1 of images' own Canny edges against their maps, within a pixel: 1 is the same drawing.",
                    "percentunit",
                    (
                        "sum by (version) (rate(cn_adherence_ratio_sum[$__rate_interval]))"
                        " / sum by (version) (rate(cn_adherence_ratio_count[$__rate_interval]))",
                        "version {{version}}",
                    ),
                ),
                panel(
                    "The same, of the last half hour and the last day",
                    "Below 80 % of the day's mean is a ticket.",
                    "percentunit",
                    ("cn:adherence:mean30m", "half an hour"),
                    ("cn:adherence:mean1d", "a day"),
                ),
                panel(
                    "Spread of adherence",
                    "Half of the images that were looked at are below the median.",
                    "percentunit",
                    *quantiles("cn_adherence_ratio"),
                ),
                panel(
                    "Images looked at",
                    "Images a second; `CN_ADHERENCE_SHARE` of those under canny.",
                    "ops",
                    ("sum(rate(cn_adherence_ratio_count[$__rate_interval]))", "images"),
                ),
            ),
        ),
    ),
)
