"""Bundles as versions of a registered model in MLflow, and back as verified folders.

A version is a run's artifact folder plus the digest of the bundle as a tag. There is no pyfunc and so no pickle: what
is stored is the bundle's own files, and what is fetched is refused unless it is again exactly them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from controlnet.bundle import SUFFIXES, Bundle, BundleError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from serve.config import Settings

CHAMPION = "champion"
LONGEST_PARAM = 6000  # characters that MLflow takes
FOLDER = "bundle"  # of the run's artifacts
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
STAGING = ".fetching-"
STALE_S = 3600.0  # after which nobody fetches into a folder any more
KEPT = 3  # bundles in a cache, the one that is being fetched among them
NO_SPACE = "No space is left on the disk"
SOURCE = re.compile(rf"models:/({NAME.pattern})/([0-9]+)")


class RegistryError(RuntimeError):
    """The registry could not do it; the message is a sentence for an operator."""


class NotRegistered(RegistryError):
    """There is no such model or version."""


class RegistryUnreachable(RegistryError):
    """MLflow is away or broken; trying again may help."""


class VersionRefused(RegistryError):
    """A version isn't the sound bundle that its digest names; only another version will help."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version as the registry lists it; `digest` is empty where someone else made it without one."""

    version: str
    digest: str
    created: datetime
    description: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an alias means now.

    Attributes:
        source: Where a bundle is fetched: `models:/<name>/<version>`.
    """

    name: str
    version: str
    digest: str
    source: str


def source_of(name: str, version: str) -> str:
    """Where the bundle of a version is fetched: what `SOURCE` matches."""
    return f"models:/{name}/{version}"


class Registry:
    """One registered model. Opens nothing until it is asked something, then keeps one client.

    Args:
        tracking_uri: MLflow's: `sqlite:///...` or `http://...`. The process's global URI is left alone.
        name: Of the registered model.
        artifact_root: Where bundles are stored when no server decides that; None with a server.
    """

    def __init__(self, tracking_uri: str, name: str, artifact_root: Path | None = None) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"model name {name!r} must be letters, digits, '.', '_' and '-', a letter or digit first")
        self.name = name
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        self._client: MlflowClient | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Registry:
        """The registry that the settings name."""
        served = settings.tracking_uri.startswith(("http://", "https://"))
        root = None if served else (settings.data_dir / "mlruns").resolve()
        return cls(settings.tracking_uri, settings.model, root)

    def push(
        self,
        folder: str | Path,
        params: Mapping[str, str | float] | None = None,
        metrics: Mapping[str, float] | None = None,
        description: str = "",
    ) -> RegisteredVersion:
        """Register a bundle. The same digest again gives the version that has it.

        Args:
            folder: Of the bundle; every file is hashed first.
            params: Logged on the version's run, for people; added to what the manifest says of the training.
            metrics: The same; added to those of the manifest.
            description: The same.

        Raises:
            BundleError: The folder isn't a sound bundle.
            RegistryError: MLflow is away or refuses a name or number.
        """
        bundle = Bundle.open(folder)
        bundle.verify()
        for known in self.versions():
            if known.digest == bundle.digest:
                return known
        manifest = bundle.manifest
        with self._mlflow() as client:
            run = client.create_run(self._experiment(client), run_name=f"{manifest.name} {manifest.version}")
            run_id = run.info.run_id
            try:
                for key, value in {**_params(manifest.training_data), **(params or {})}.items():
                    client.log_param(run_id, key, value)
                for key, number in {**manifest.metrics, **(metrics or {})}.items():
                    client.log_metric(run_id, key, number)
                client.log_artifacts(run_id, str(bundle.folder), FOLDER)
                if self._model() is None:
                    client.create_registered_model(self.name)
                source = f"runs:/{run_id}/{FOLDER}"
                made = client.create_model_version(
                    self.name, source, run_id, tags=_tags(bundle), description=description
                )
            except BaseException:
                with suppress(Exception):  # the first error is the one to tell
                    client.set_terminated(run_id, "FAILED")
                raise
            client.set_terminated(run_id)
        return _registered(made)

    def begin_with(self, folder: str | Path) -> None:
        """Register a bundle and promote it where there is no other; repeated, it ends what a call began that was cut.

        Raises:
            BundleError, RegistryError: As `push` and `promote`.
        """
        versions = self.versions()
        digest = Bundle.open(folder).digest
        if not versions or ({known.digest for known in versions} == {digest} and not self.aliases()):
            self.promote(self.push(folder).version)

    def promote(self, version: str, alias: str = CHAMPION) -> None:
        """Point an alias at a version.

        Raises:
            RegistryError: There is no such version, it can't be served, or MLflow is away.
        """
        known = {registered.version: registered.digest for registered in self.versions()}
        if version not in known:
            there = f"there are {', '.join(reversed(known))}" if known else "there is none"
            raise RegistryError(f"{self.name} has no version {version}; {there}.")
        if alias == CHAMPION and not DIGEST.fullmatch(known[version]):
            raise VersionRefused(
                f"Version {version} of {self.name} has no digest: push its bundle, which makes another."
            )
        with self._mlflow() as client:
            client.set_registered_model_alias(self.name, alias, version)

    def versions(self) -> list[RegisteredVersion]:
        """All versions, newest first."""
        found: list[RegisteredVersion] = []
        token = None
        with self._mlflow() as client:
            while True:
                page = client.search_model_versions(f"name = '{self.name}'", page_token=token)
                found += map(_registered, page)
                token = page.token
                if not token:
                    return sorted(found, key=lambda registered: int(registered.version), reverse=True)

    def aliases(self) -> dict[str, str]:
        """Alias -> version."""
        model = self._model()
        return {} if model is None else {alias: str(version) for alias, version in model.aliases.items()}

    def resolve(self, alias: str = CHAMPION) -> Resolved | None:
        """What an alias means now; None where model or alias is missing (deleting a version deletes its aliases).

        One call where the alias is on the newest version, two elsewhere: cheap enough to ask every few seconds.

        Raises:
            VersionRefused: The version has no digest.
            RegistryUnreachable: MLflow is away.
        """
        model = self._model()
        if model is None or alias not in model.aliases:
            return None
        version = str(model.aliases[alias])
        found = next((latest for latest in model.latest_versions if str(latest.version) == version), None)
        if found is None:
            with self._mlflow() as client:
                found = client.get_model_version(self.name, version)
        digest = found.tags.get("digest", "")
        if not DIGEST.fullmatch(digest):
            raise VersionRefused(f"Version {version} of {self.name} has no digest but {digest!r}.")
        return Resolved(self.name, version, digest, source_of(self.name, version))

    def fetch(self, resolved: Resolved, cache: Path, keep: Collection[str] = ()) -> Path:
        """The bundle's folder in the cache, fetched if it isn't there; see `fetch_source`."""
        return self.fetch_source(resolved.source, resolved.digest, cache, keep)

    def fetch_source(self, source: str, digest: str, cache: Path, keep: Collection[str] = ()) -> Path:
        """`cache/<digest>`, downloaded and verified if it isn't there; a folder that is costs no call to MLflow.

        Args:
            source: `models:/<name>/<version>`.
            digest: `sha256:` and 64 hex digits: what the bundle must be, whatever the source holds.
            cache: Shared by the processes of a machine. A folder in it appears whole and verified, or not at all.
            keep: Digests that are in use: of the others, those used last stay in the cache.

        Raises:
            NotRegistered: The version was deleted.
            VersionRefused: It is anything but that bundle.
            RegistryUnreachable: MLflow or its artifacts are away.
        """
        matched = DIGEST.fullmatch(digest)
        if not matched:
            raise VersionRefused(f"{source} is to have the digest {digest!r}, which is none.")
        folder = cache / matched[1]
        if _holds(folder, digest):
            os.utime(folder)
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        _make_room(cache, keep)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=cache))
        try:
            self._download(source, staging)
            try:
                bundle = Bundle.open(staging / FOLDER)
                bundle.verify()
            except BundleError as error:
                message = str(error).replace(f"{staging / FOLDER}", source)
                raise VersionRefused(f"{source} is no sound bundle: {message}") from error
            if bundle.digest != digest:
                raise VersionRefused(f"{source} has the digest {bundle.digest}, not {digest}.")
            _publish(bundle.folder, folder, digest, aside=staging / "broken")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder

    def _download(self, source: str, target: Path) -> None:
        matched = SOURCE.fullmatch(source)
        if not matched:
            raise VersionRefused(f"{source!r} is no models:/<name>/<version>.")
        with self._mlflow() as client:
            run_id = client.get_model_version(matched[1], matched[2]).run_id
            sizes = dict(_listing(client, run_id, FOLDER))
            listed = sorted(sizes)
            strange = [path for path in listed if PurePosixPath(path).suffix not in SUFFIXES]
            if strange or not listed:
                holds = f"holds {', '.join(strange)}, which no bundle does" if strange else "holds no files"
                raise VersionRefused(f"{source} {holds}.")
            needed, free = sum(sizes.values()), shutil.disk_usage(target).free
            if needed > free:
                raise RegistryUnreachable(
                    f"{NO_SPACE} for {source}: it has {needed / 1e6:.1f} MB, the disk of {target.parent} "
                    f"{free / 1e6:.1f} MB left. Make room there."
                )
            client.download_artifacts(run_id, FOLDER, str(target))

    def _model(self) -> RegisteredModel | None:
        try:
            with self._mlflow() as client:
                return client.get_registered_model(self.name)
        except NotRegistered:
            return None

    def _experiment(self, client: MlflowClient) -> str:
        """Id of the experiment that holds the bundles' runs, made where there is none."""
        found = client.get_experiment_by_name(self.name)
        if found is not None:
            return str(found.experiment_id)
        # Without a server MLflow would put artifacts under the working folder.
        location = None if self._artifact_root is None else self._artifact_root.resolve().as_uri()
        return str(client.create_experiment(self.name, artifact_location=location))

    @contextmanager
    def _mlflow(self) -> Iterator[MlflowClient]:
        """The client; what MLflow raises in the block leaves it as a `RegistryError`."""
        # Importing MLflow takes seconds and 200 MB: who only reads the cache, or starts with it, doesn't wait for that.
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            if self._client is None:
                _probe(self._uri)
                self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            yield self._client
        except MlflowException as error:
            if _is_disk_full(error):
                raise RegistryUnreachable(f"{NO_SPACE}: {_brief(error)}") from error
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise NotRegistered(f"MLflow has no such thing: {_brief(error)}") from error
            if error.error_code == "INVALID_PARAMETER_VALUE":
                raise RegistryError(f"MLflow refuses it: {_brief(error)}") from error
            raise RegistryUnreachable(f"MLflow can't be used: {_brief(error)}") from error
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            raise RegistryUnreachable(f"MLflow can't be used: {type(error).__name__}: {_brief(error)}") from error


def _probe(uri: str) -> None:
    """Fail at once where MLflow would try for 100 s to open a SQLite file that can't be opened."""
    path = (make_url(uri).database or "") if uri.startswith("sqlite:///") else ""
    if path and Path(path).exists():
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("PRAGMA schema_version")


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether a disk was full: MLflow has that in the text of an error, or behind it, and calls it something else."""
    return error is not None and (
        getattr(error, "errno", None) == errno.ENOSPC
        or os.strerror(errno.ENOSPC) in str(error)
        or _is_disk_full(error.__cause__ or error.__context__)
    )


def _brief(error: Exception) -> str:
    """One line, without the password that a URI in it may hold."""
    line = next(iter(str(error).splitlines()), "")
    return re.sub(r"(://)[^/@\s]+@", r"\1", line)[:300]


def _registered(version: ModelVersion) -> RegisteredVersion:
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return RegisteredVersion(str(version.version), version.tags.get("digest", ""), created, version.description or "")


def _tags(bundle: Bundle) -> dict[str, str]:
    """What people see of a version in MLflow, and the digest that it is held to."""
    manifest, unet = bundle.manifest, bundle.manifest.architecture.unet
    widths = "-".join(str(unet.model_channels * multiple) for multiple in unet.channel_mult)
    size = f"{manifest.native_size.width}x{manifest.native_size.height}"
    return {
        "digest": bundle.digest,
        "architecture": f"UNet {widths}, context {unet.context_dim}, {size} px",
        "controls": ", ".join(sorted(manifest.controls)),
        "licence": manifest.licence,
    }


def _params(data: object, path: str = "training") -> dict[str, str]:
    """A manifest's training data as MLflow's flat parameters: `training.base.batch`."""
    if not isinstance(data, Mapping):
        return {path: str(data)[:LONGEST_PARAM]}
    return {key: text for name, part in data.items() for key, text in _params(part, f"{path}.{name}").items()}


def _listing(client: MlflowClient, run_id: str, path: str) -> Iterator[tuple[str, int]]:
    """Paths of all files at and below a folder of a run's artifacts, and their bytes, 0 where MLflow doesn't know."""
    for item in client.list_artifacts(run_id, path):
        if item.is_dir:
            yield from _listing(client, run_id, item.path)
        else:
            yield item.path, item.file_size or 0


def _holds(folder: Path, digest: str) -> bool:
    """Whether a folder is there, whole by its sizes, with the manifest that has this digest."""
    try:
        return folder.is_dir() and Bundle.open(folder).digest == digest
    except BundleError:
        return False


def _make_room(cache: Path, keep: Collection[str]) -> None:
    """Delete the bundles used least recently, and what a process left that was killed while it fetched.

    A pod that fills its disk is evicted. Whoever has a deleted bundle open keeps its bytes until it is done.
    """
    names = {digest.removeprefix("sha256:") for digest in keep}
    by_use = sorted(cache.iterdir(), key=_used, reverse=True)
    staging = [entry for entry in by_use if entry.name.startswith(STAGING)]
    spare = [entry for entry in by_use if entry not in staging and entry.name not in names]
    stale = [entry for entry in staging if _used(entry) < time.time() - STALE_S]
    for entry in (*spare[max(0, KEPT - 1 - len(names)) :], *stale):
        shutil.rmtree(entry, ignore_errors=True)


def _used(entry: Path) -> float:
    """When, in epoch seconds; 0 for what another process has just deleted."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _publish(made: Path, folder: Path, digest: str, aside: Path) -> None:
    """Rename a verified folder into place; another process may have been first."""
    if folder.exists() and not _holds(folder, digest):
        folder.rename(aside)
    try:
        made.rename(folder)
    except OSError:
        if not _holds(folder, digest):
            raise
