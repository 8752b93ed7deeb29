"""Terraform without a cloud or a registry: a copy of infra/terraform, and providers that are schemas only.

The providers are those of `terraform_offline/`: they know names, types, required arguments and how many blocks there
may be, and nothing of Azure. A machine that reaches the registry needs none of it: there
`terraform init -backend=false && terraform test` in a module's folder does the same with the real provider's schema.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "infra/terraform"
RULES = ROOT / "ops/prometheus/rules"
SETUP = Path(__file__).parent / "terraform_offline/setup.sh"


class Missing(RuntimeError):
    """Something that the checks need is not here: what, and what does the same without it."""


@dataclass(frozen=True)
class Verdict:
    """What `terraform test` said of a folder.

    Attributes:
        runs: Status of each named run: pass, fail, error or skip.
        output: All it wrote, for who reads a failure.
    """

    runs: Mapping[str, str]
    output: str

    @property
    def red(self) -> set[str]:
        """Runs that did not pass and were not merely passed over."""
        return {name for name, status in self.runs.items() if status in ("fail", "error")}


class Terraform:
    """Terraform with the schema-only providers, which run until the end: a run would start them twice.

    Raises:
        Missing: There is no terraform, or PyPI's `tf` is not to be had.
    """

    def __init__(self) -> None:
        program = shutil.which("terraform")
        if program is None:
            raise Missing("no terraform on the PATH: https://developer.hashicorp.com/terraform/install")
        setup = subprocess.run([SETUP], capture_output=True, text=True, check=False)
        if setup.returncode != 0:
            raise Missing(f"{SETUP.relative_to(ROOT)} failed, it installs PyPI's `tf` once: {setup.stderr.strip()}")
        configuration = Path(setup.stdout.strip())
        self._program = program
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "ARM_"))},
            "TF_CLI_CONFIG_FILE": str(configuration),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        self._programs = sorted((configuration.parent / "mirror").rglob("terraform-provider-*"))
        self._open = ExitStack()

    def __enter__(self) -> Self:
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="cn-terraform-", dir="/tmp"))
        environment = os.environ | {"TERRAFORM_OFFLINE_TYPES": " ".join(sorted(types()))}
        attached = {}
        for program in self._programs:
            # The kernel ends it with its parent, however that ends.
            command = ["setpriv", "--pdeathsig=KILL", str(program), f"{folder}/{program.name}"]
            process = self._open.enter_context(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            )
            self._open.callback(process.kill)
            assert process.stdout is not None
            _, protocol, network, socket, kind, _ = process.stdout.readline().split("|")
            attached["/".join(program.parts[-6:-3])] = {
                "Protocol": kind,
                "ProtocolVersion": int(protocol),
                "Pid": process.pid,
                "Test": True,
                "Addr": {"Network": network, "String": socket},
            }
        self._environment["TF_REATTACH_PROVIDERS"] = json.dumps(attached)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command in a folder; its output and errors together."""
        return subprocess.run(
            [self._program, *arguments],
            cwd=folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def init(self, folder: Path) -> None:
        """Make a folder ready. Its state's backend is left alone."""
        done = self.run(folder, "init", "-backend=false", "-input=false", "-no-color")
        assert done.returncode == 0, done.stdout

    def test(self, folder: Path) -> Verdict:
        """Run the tests of a folder that is ready."""
        done = self.run(folder, "test", "-json")
        runs: dict[str, str] = {}
        for line in done.stdout.splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("type") == "test_run" and event["test_run"].get("progress") == "complete":
                runs[event["test_run"]["run"]] = event["test_run"]["status"]
        return Verdict(runs, done.stdout)


def copy(to: Path) -> Path:
    """Copy what Terraform reads to an empty folder, where it may leave plugins, and a lock of the schemas' own.

    Returns:
        The copy of infra/terraform.
    """
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars")
    shutil.copytree(SOURCE, to / "infra/terraform", ignore=ignored)
    if RULES.exists():
        shutil.copytree(RULES, to / RULES.relative_to(ROOT))
    return to / "infra/terraform"


def types() -> set[str]:
    """Every type of resource and data source that infra/terraform names."""
    texts = [path.read_text(encoding="utf-8") for pattern in ("*.tf", "*.hcl") for path in SOURCE.rglob(pattern)]
    return {name for text in texts for name in re.findall(r'^\s*\w+ "(\w+)"', text, re.MULTILINE)}


def folders() -> list[str]:
    """Every folder that can be planned: modules, environments and the bootstrap, relative to infra/terraform."""
    return sorted(str(path.parent.relative_to(SOURCE)) for path in SOURCE.rglob("main.tf"))
