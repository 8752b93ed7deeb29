"""Is the hardware used? Steps, batches, pixels; and the GPU's utilisation, saturation and errors."""

from __future__ import annotations

from ops.dashboards.board import Board, Row, panel, quantiles

ENGINE = Board(
    "engine",
    "Engine and GPU: is the hardware used?",
    "What samplers do at each step, how full batches are, and what the GPU says of itself.",
    (
        Row(
            "Sampling",
            (
                panel(
                    "Time of a denoising step by size of batch",
                    "Rows after padding. A size that grew slower points at the GPU, another mix at the requests.",
                    "s",
                    (
                        "sum by (bucket) (rate(cn_step_seconds_sum[$__rate_interval]))"
                        " / sum by (bucket) (rate(cn_step_seconds_count[$__rate_interval]))",
                        "{{bucket}} rows",
                    ),
                ),
                panel(
                    "Share of the time that samplers step",
                    "1 for each busy sampler. What is missing is decoding, encoding or nothing to do.",
                    "percentunit",
                    ("sum(rate(cn_step_seconds_sum[$__rate_interval]))", "stepping"),
                ),
                panel(
                    "How full batches are",
                    "Share of the rows that belong to images; the rest is padding.",
                    "percentunit",
                    (
                        'sum(rate(cn_step_rows_total{kind="used"}[$__rate_interval]))'
                        " / sum(rate(cn_step_rows_total[$__rate_interval]))",
                        "used",
                    ),
                ),
                panel(
                    "Images by how they left",
                    "Images a second.",
                    "ops",
                    ("sum by (outcome) (rate(cn_images_total[$__rate_interval]))", "{{outcome}}"),
                ),
                panel(
                    "Images in the engine",
                    "waiting: for a seat, the engine's saturation. running: between steps. finishing: being decoded.",
                    "short",
                    ("sum by (state) (cn_engine_images)", "{{state}}"),
                ),
                panel(
                    "Waiting for a seat",
                    "From an image's arrival in a sampler to its first step.",
                    "s",
                    *quantiles("cn_seat_seconds"),
                ),
                panel(
                    "Encoding prompts and hints",
                    "Of images that join a batch; the others wait meanwhile.",
                    "s",
                    *quantiles("cn_encode_seconds"),
                ),
                panel(
                    "Decoding latents to pictures",
                    "On a GPU it hides behind the next steps; on a CPU steps wait.",
                    "s",
                    *quantiles("cn_decode_seconds"),
                ),
            ),
        ),
        Row(
            "Pixels",
            (
                panel(
                    "Decoding an upload", "In imaging, in a process of its own.", "s", *quantiles("cn_picture_seconds")
                ),
                panel("Making a control map", "By annotator.", "s", *quantiles("cn_annotate_seconds", "annotator")),
                panel("Encoding a PNG", "Maps and images.", "s", *quantiles("cn_png_seconds")),
                panel(
                    "Reading and writing artifacts",
                    "The folder or blob container that keeps pictures.",
                    "s",
                    *quantiles("cn_artifact_seconds", "operation"),
                ),
                panel(
                    "Artifacts that could not be read or written",
                    "Above 0 pages.",
                    "ops",
                    ("sum by (operation) (rate(cn_artifact_errors_total[$__rate_interval]))", "{{operation}}"),
                ),
                panel("Size of requests with pictures", "Of bodies.", "bytes", *quantiles("cn_upload_bytes")),
            ),
        ),
        Row(
            "GPU: utilisation, saturation, errors",
            (
                panel(
                    "Memory of samplers' GPUs",
                    "used: by tensors. reserved: by torch. total: of the card.",
                    "bytes",
                    ("sum by (kind) (cn_gpu_memory_bytes)", "{{kind}}"),
                    requires="GPU",
                ),
                panel(
                    "Utilisation",
                    "Share of the time that a kernel runs, and that tensor cores do.",
                    "percentunit",
                    ("max by (Hostname, gpu) (DCGM_FI_DEV_GPU_UTIL) / 100", "{{Hostname}}/{{gpu}} any kernel"),
                    ("max by (Hostname, gpu) (DCGM_FI_PROF_PIPE_TENSOR_ACTIVE)", "{{Hostname}}/{{gpu}} tensor cores"),
                    requires="DCGM",
                ),
                panel(
                    "Memory by the driver",
                    "Of all processes on the card.",
                    "decmbytes",
                    ("max by (Hostname, gpu) (DCGM_FI_DEV_FB_USED)", "{{Hostname}}/{{gpu}} used"),
                    ("max by (Hostname, gpu) (DCGM_FI_DEV_FB_FREE)", "{{Hostname}}/{{gpu}} free"),
                    requires="DCGM",
                ),
                panel(
                    "Temperature",
                    "Above 85 degrees most cards slow down.",
                    "celsius",
                    ("max by (Hostname, gpu) (DCGM_FI_DEV_GPU_TEMP)", "{{Hostname}}/{{gpu}}"),
                    requires="DCGM",
                ),
                panel(
                    "Power",
                    "Far below the card's limit under load: something else holds it back.",
                    "watt",
                    ("max by (Hostname, gpu) (DCGM_FI_DEV_POWER_USAGE)", "{{Hostname}}/{{gpu}}"),
                    requires="DCGM",
                ),
                panel(
                    "Errors that the driver reports (XID)",
                    "The last one's number; 0 is none. 48, 63, 64, 79, 94 and 95 are the hardware's.",
                    "short",
                    ("max by (Hostname, gpu) (DCGM_FI_DEV_XID_ERRORS)", "{{Hostname}}/{{gpu}}"),
                    requires="DCGM",
                ),
            ),
        ),
    ),
)
