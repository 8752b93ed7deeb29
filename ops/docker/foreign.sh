#!/usr/bin/env bash
# Look up the digests of the images that others made, by the tags in the chart's values, and write them as values:
#   ops/docker/foreign.sh      writes build/foreign-images.yaml:  helm upgrade ... -f build/foreign-images.yaml
# Once for each tag: what it says today is what stays in use, wherever the tag is moved to. It wants a connection to the
# registries and docker's buildx.
set -euo pipefail
cd "$(dirname "$0")/../.."

mkdir -p build
# `<name>: {registry: <registry>, repository: <repository>, tag: <tag>, ...}`: ours have no registry of their own.
foreign=$(sed -nE 's|^    ([A-Za-z]+): \{registry: ([^,]+), repository: ([^,]+), tag: ([^,]+),.*|\1 \2/\3:\4|p' k8s/helm/platform/values.yaml)
{
  echo "# By ops/docker/foreign.sh: what the tags named on $(date -u +%F)."
  echo "global:"
  echo "  images:"
  while read -r name image; do
    digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}' < /dev/null)
    [[ $digest == sha256:* ]] || { echo "$image has no digest: $digest" >&2; exit 1; }
    echo "    $name: {digest: \"$digest\"}   # $image"
  done <<< "$foreign"
} > build/foreign-images.yaml.new
mv build/foreign-images.yaml.new build/foreign-images.yaml
