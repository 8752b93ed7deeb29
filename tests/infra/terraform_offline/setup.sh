#!/usr/bin/env bash
# Makes `terraform init`, `validate`, `plan` and `test` work where no provider registry is in reach:
#
#   export TF_CLI_CONFIG_FILE=$(tests/infra/terraform_offline/setup.sh)
#
# Every provider of schemas/ is put into a mirror on this machine, as provider.py with its schema beside it. What that
# needs, PyPI's `tf`, is installed once. All of it lies in $XDG_CACHE_HOME/terraform-offline. Whoever calls it must never
# commit the lock file that `terraform init` then writes: it has the hashes of schemas.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/terraform-offline
case $(uname -m) in x86_64) machine=amd64 ;; aarch64 | arm64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
platform=$(uname -s | tr '[:upper:]' '[:lower:]')_$machine

if ! "$cache/venv/bin/python" -c 'import tf' 2>/dev/null; then
  python3 -m venv "$cache/venv" >&2
  "$cache/venv/bin/pip" install -q tf==1.2.0 >&2
fi
for schema in "$here"/schemas/*.json; do
  name=$(basename "$schema" .json)
  provider=${name%-*}
  version=${name##*-}
  folder=$cache/mirror/registry.terraform.io/hashicorp/$provider/$version/$platform
  program=$folder/terraform-provider-${provider}_v$version
  mkdir -p "$folder"
  own=$(mktemp -d "$cache/setup.XXXXXX") # others may be using what is there, or be here, too
  cp "$schema" "$own/schema.json"
  { echo "#!$cache/venv/bin/python" && cat "$here/provider.py"; } >"$own/program"
  chmod +x "$own/program"
  cmp -s "$own/schema.json" "$folder/schema.json" || mv "$own/schema.json" "$folder/schema.json"
  cmp -s "$own/program" "$program" || mv "$own/program" "$program"
  rm -r "$own"
done
cat >"$cache/terraform.rc" <<RC
disable_checkpoint = true
provider_installation {
  filesystem_mirror {
    path    = "$cache/mirror"
    include = ["registry.terraform.io/*/*"]
  }
}
RC
echo "$cache/terraform.rc"
