"""MLflow's model registry: which bundles exist, and which one answers.

MLflow reads its own settings from the environment, some of them while it is imported. A library doesn't write there, so
an entry point does, before anything else: `os.environ` gets what it lacks of `ENVIRONMENT`.
"""

from collections.abc import Mapping, MutableMapping

ENVIRONMENT: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # sends nothing home
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the reconciler comes again; MLflow's 7 are minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; 120 without
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # no line for each table it makes
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",  # there may be no git
}


def settle(environ: MutableMapping[str, str]) -> None:
    """Give an environment what it lacks of `ENVIRONMENT`."""
    for name, value in ENVIRONMENT.items():
        environ.setdefault(name, value)
