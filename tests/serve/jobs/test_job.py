from __future__ import annotations

import json

from serve.jobs.job import JobResult, StoredImage, StoredMap
from serve.jobs.spec import JobSpec


def test_a_result_survives_json():
    result = JobResult((StoredImage("k", 2**63, 64, 32),), (StoredMap("m", "canny", 1),), {"decode": 0.1})
    assert JobResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_spec_survives_json(spec):
    assert JobSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
