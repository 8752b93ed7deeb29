"""Terraform provider that is its schema only (plugin protocol 6), for init, validate, plan and test without a registry.

It serves the `schema.json` beside it: names and types of arguments, which are required, how many blocks there may be;
of a value outside the documented set it warns. It knows nothing of arguments that exclude each other, and of no cloud:
what is computed is unknown in a plan and made up when applied. No substitute for a plan with the real provider.

`setup.sh` puts it where Terraform looks, under a Python that has PyPI's `tf`. With the path of a socket it serves many
runs of Terraform there (`TF_REATTACH_PROVIDERS`): what takes the time of a run is the start of its providers.
"""

# ruff: noqa: N802 - the methods' names are the protocol's

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import grpc_controller_pb2 as controller_pb
from tf.gen import grpc_controller_pb2_grpc as controller_rpc
from tf.gen import grpc_stdio_pb2_grpc as stdio_rpc
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc
from tf.runner import _self_signed_cert

UNKNOWN = msgpack.ExtType(0, b"\x00")
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
BLOCK = pb.Schema.NestedBlock.NestingMode
OBJECT = pb.Schema.Object.NestingMode

Field = dict[str, Any]
Fields = dict[str, Field]
"""An attribute has a `type`, or is of objects (`nested`). A block is `nested`, too, and says that it is one."""


def main(socket: str | None = None) -> None:
    """Serve until Terraform has enough, on a socket of its own, and say which; on one that is given, until killed."""
    schema = json.loads((Path(__file__).resolve().parent / "schema.json").read_text())
    server = grpc.server(ThreadPoolExecutor(max_workers=10), options=UNLIMITED)
    rpc.add_ProviderServicer_to_server(Provider(schema, server), server)
    controller_rpc.add_GRPCControllerServicer_to_server(Controller(server), server)
    stdio_rpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    with tempfile.TemporaryDirectory() as folder:
        certificate = b""
        if socket is None:
            socket = f"{folder}/socket"
            certificate, credentials = _self_signed_cert()
            server.add_secure_port(f"unix://{socket}", credentials)
        else:
            server.add_insecure_port(f"unix://{socket}")  # Terraform asks no certificate of what it did not start
        server.start()
        encoded = base64.b64encode(certificate).decode().rstrip("=")
        print(f"1|6|unix|{socket}|grpc|{encoded}", flush=True)
        server.wait_for_termination()


# --- the schema


def attribute_type(field: Field) -> Any:
    """An attribute's type as Terraform writes it: `"string"`, `["list", "number"]`, `["object", {...}]`."""
    if "type" in field:
        return named_type(field["type"])
    made = ["object", {name: attribute_type(each) for name, each in field["nested"].items()}]
    nesting = field.get("nesting", "list")
    return made if nesting == "single" else [nesting, made]


def named_type(name: str) -> Any:
    """The type of `list(map(string))` and the like."""
    if name == "any":
        return "dynamic"
    kind, opened, inner = name.partition("(")
    return [kind, named_type(inner[:-1])] if opened else name


def block(fields: Fields, framework: bool) -> pb.Schema.Block:
    """The schema of a resource or a block.

    Args:
        fields: What is in it.
        framework: Whether the provider is of the newer make, whose attributes of objects have a schema of their own.
    """
    made = pb.Schema.Block()
    for name, field in sorted(fields.items()):
        nesting = field.get("nesting", "list")
        said = {key: bool(field.get(key)) for key in ("required", "optional", "computed")}
        if field.get("block"):
            limits = {"min_items": int(said["required"]), "max_items": field.get("max_items", 0)}
            made.block_types.add(
                type_name=name,
                block=block(field["nested"], framework),
                nesting=BLOCK.Value(nesting.upper()),
                **({} if nesting == "single" else limits),
            )
        elif "nested" in field and framework:
            inner = block(field["nested"], framework).attributes
            nested = pb.Schema.Object(attributes=inner, nesting=OBJECT.Value(nesting.upper()))
            made.attributes.add(name=name, nested_type=nested, **said)
        else:
            told = {key: bool(field.get(key)) for key in ("sensitive", "deprecated")}
            made.attributes.add(name=name, type=json.dumps(attribute_type(field)).encode(), **said, **told)
    return made


# --- values


def decode(value: pb.DynamicValue) -> Any:
    """A value as Terraform sent it; what is unknown is an `ExtType`."""
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, raw=False, strict_map_key=False, ext_hook=msgpack.ExtType)
    return json.loads(value.json) if value.json else None


def encode(value: object) -> pb.DynamicValue:
    """The inverse of `decode`."""
    return pb.DynamicValue(msgpack=msgpack.packb(value, use_bin_type=True))


def planned(fields: Fields, values: Any) -> Any:
    """Values with what is computed, and not given, unknown: in their blocks, too."""
    return walk(
        fields, values, lambda name, field, value: UNKNOWN if field.get("computed") and value is None else value
    )


def applied(fields: Fields, values: Any, path: str) -> Any:
    """Values with something made up for what is unknown: in their blocks, too."""

    def known(name: str, field: Field, value: Any) -> Any:
        return made_up(attribute_type(field), name, path) if isinstance(value, msgpack.ExtType) else value

    return walk(fields, values, known)


def walk(fields: Fields, values: Any, change: Callable[[str, Field, Any], Any]) -> Any:
    """Values of a resource or a block with every attribute changed: `change(name, field, value)`."""
    if not isinstance(values, dict):
        return values
    changed = dict(values)
    for name, field in fields.items():
        value = values.get(name)
        if not field.get("block"):
            changed[name] = change(name, field, value)
        elif isinstance(value, list):
            changed[name] = [walk(field["nested"], each, change) for each in value]
        elif name in values:
            changed[name] = walk(field["nested"], value, change)
    return changed


def made_up(kind: Any, name: str, path: str) -> Any:
    """A value of a type; a text names its attribute."""
    if kind in ("string", "dynamic"):
        return f"stub-{path}-{name}"
    if kind in ("number", "bool"):
        return 0 if kind == "number" else False
    nesting, inner = kind
    if nesting == "object":
        return {key: made_up(each, key, path) for key, each in inner.items()}
    if nesting == "map":
        return {}
    return [made_up(inner, name, path)] if inner[0] == "object" else []


def doubts(fields: Fields, values: Any, path: str) -> Iterator[pb.Diagnostic]:
    """Warnings of values that are not documented. What is documented may lack some."""
    if not isinstance(values, dict):
        return
    for name, field in fields.items():
        value = values.get(name)
        if field.get("block"):
            for each in value if isinstance(value, list) else [value]:
                yield from doubts(field["nested"], each, f"{path}.{name}")
        elif isinstance(value, str) and value not in field.get("values", [value]):
            yield pb.Diagnostic(
                severity=pb.Diagnostic.WARNING,
                summary=f"{path}.{name} = {value!r} is not a documented value",
                detail=f"documented: {field['values']}",
            )


# --- the protocol


def asked(types: dict[str, Fields]) -> dict[str, Fields]:
    """The types that $TERRAFORM_OFFLINE_TYPES names; all of them where it is not set.

    Terraform reads the whole schema anew for each run of a test: of 1,500 types that is most of the run's time.
    """
    named = os.environ.get("TERRAFORM_OFFLINE_TYPES")
    return types if named is None else {name: types[name] for name in named.split() if name in types}


class Provider(rpc.ProviderServicer):
    """What Terraform asks of a provider."""

    def __init__(self, schema: dict[str, Any], server: grpc.Server) -> None:
        self._resources: dict[str, Fields] = asked(schema["resources"])
        self._sources: dict[str, Fields] = asked(schema["data_sources"])
        self._settings: Fields = schema["provider"]
        self._framework: bool = schema["_meta"]["framework"]
        self._server = server
        self._can = pb.ServerCapabilities(get_provider_schema_optional=True)

    def GetMetadata(self, request: Any, context: Any) -> Any:
        return pb.GetMetadata.Response(
            server_capabilities=self._can,
            resources=[pb.GetMetadata.ResourceMetadata(type_name=name) for name in self._resources],
            data_sources=[pb.GetMetadata.DataSourceMetadata(type_name=name) for name in self._sources],
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return self._described

    @cached_property
    def _described(self) -> pb.GetProviderSchema.Response:
        return pb.GetProviderSchema.Response(
            server_capabilities=self._can,
            provider=self._schema(self._settings),
            resource_schemas={name: self._schema(fields) for name, fields in self._resources.items()},
            data_source_schemas={name: self._schema(fields) for name, fields in self._sources.items()},
        )

    def GetFunctions(self, request: Any, context: Any) -> Any:
        return pb.GetFunctions.Response()

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return pb.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        name = request.type_name
        found = doubts(self._resources[name], decode(request.config), name)
        return pb.ValidateResourceConfig.Response(diagnostics=list(found))

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        return pb.UpgradeResourceState.Response(upgraded_state=pb.DynamicValue(json=request.raw_state.json))

    def ReadResource(self, request: Any, context: Any) -> Any:
        return pb.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        state = decode(request.proposed_new_state)
        if decode(request.prior_state) is None:
            state = planned(self._resources[request.type_name], state)
        return pb.PlanResourceChange.Response(planned_state=encode(state), legacy_type_system=True)

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        state = decode(request.planned_state)
        if state is not None:
            path = f"{request.type_name}-{state.get('name')}"
            state = applied(self._resources[request.type_name], state, path)
        return pb.ApplyResourceChange.Response(new_state=encode(state), legacy_type_system=True)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        fields = self._sources[request.type_name]
        state = applied(fields, planned(fields, decode(request.config)), request.type_name)
        return pb.ReadDataSource.Response(state=encode(state))

    def StopProvider(self, request: Any, context: Any) -> Any:
        self._server.stop(grace=0.05)
        return pb.StopProvider.Response()

    def _schema(self, fields: Fields) -> pb.Schema:
        return pb.Schema(block=block(fields, self._framework))


class Controller(controller_rpc.GRPCControllerServicer):
    """The end of a plugin."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server

    def Shutdown(self, request: Any, context: Any) -> Any:
        self._server.stop(grace=0.05)
        return controller_pb.Empty()


class Stdio(stdio_rpc.GRPCStdioServicer):
    """A plugin's output, of which there is none."""

    def StreamStdio(self, request: Any, context: Any) -> Iterator[Any]:
        return iter([])


if __name__ == "__main__":
    main(*sys.argv[1:])
