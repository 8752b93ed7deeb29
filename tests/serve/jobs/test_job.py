from __future__ import annotations

import json

from controlnet.warnings import ResultWarning
from serve.jobs.job import JobResult, StoredImage, StoredMap
from serve.jobs.spec import JobSpec


def test_a_result_survives_json():
    warning = ResultWarning("one-step", "steps", "One step.")
    result = JobResult((StoredImage("k", 2**63, 64, 32),), (StoredMap("m", "canny", 1),), {"decode": 0.1}, (warning,))
    assert JobResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_result_of_0_1_has_no_warnings():
    assert JobResult.from_json({"images": [], "control_maps": [], "timings": {}}).warnings == ()


def test_a_spec_survives_json(spec):
    assert JobSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
