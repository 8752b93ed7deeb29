#!/usr/bin/env bash
# Build images, push them where REGISTRY is set, and write their digests as values for the chart.
#   BASE=docker.io/library/python:3.11-slim-bookworm@sha256:<digest> ops/docker/build.sh api cpu gpu mlflow
#   REGISTRY=myregistry.azurecr.io ... writes build/images.yaml:  helm upgrade ... -f build/images.yaml
# Images that are not built now keep their digests there, as long as the registry is the same. Those of others: foreign.sh.
# TORCH_CPU_INDEX is where pip finds torch for CPUs; the image `cpu` needs it.
# BUILDER is buildah, podman or docker; TAG the images' tag; BUILD_ARGS goes to the builder as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${BASE:?set BASE to a Python 3.11 image by its digest}"
[[ $BASE == *@sha256:* || $BASE == localhost/* ]] || { echo "BASE is $BASE: a tag can be moved, give name@sha256:..." >&2; exit 2; }
TAG=${TAG:-0.1.0}
REGISTRY=${REGISTRY:-}
BUILDER=${BUILDER:-$(command -v buildah || command -v podman || command -v docker || { echo "no buildah, podman or docker" >&2; exit 2; })}

mkdir -p build
head="# By ops/docker/build.sh: what was pushed to $REGISTRY."
[[ $# -gt 0 ]] || set -- api cpu gpu mlflow
for image in "$@"; do
  case $image in
    api|mlflow) file=$image arguments=() ;;
    cpu) file=ray arguments=(--build-arg "TORCH_INDEX=${TORCH_CPU_INDEX?is not set: give the index of torch for CPUs that pytorch.org names, or nothing for the default one, which has CUDA}") ;;
    gpu) file=ray arguments=(--build-arg TORCH_INDEX=) ;;
    *) echo "no such image: $image; there are api, cpu, gpu, mlflow" >&2; exit 2 ;;
  esac
  name=${REGISTRY:-localhost}/controlnet/$image:$TAG
  # shellcheck disable=SC2086  # BUILD_ARGS is words
  "$BUILDER" build --build-arg "BASE=$BASE" "${arguments[@]}" ${BUILD_ARGS:-} --file "ops/docker/$file.Containerfile" --tag "$name" .
  if [[ -n $REGISTRY ]]; then
    case $BUILDER in
      *docker) "$BUILDER" push --quiet "$name"; digest=$("$BUILDER" inspect --format '{{index .RepoDigests 0}}' "$name"); digest=${digest##*@} ;;
      *) "$BUILDER" push --quiet --digestfile build/digest "$name"; digest=$(<build/digest) ;;
    esac
    kept=
    if [[ -e build/images.yaml && $(head -n 1 build/images.yaml) == "$head" ]]; then
      kept=$(tail -n +4 build/images.yaml | grep -v "^    $image: " || true)
    fi
    printf '%s\n' "$head" global: "  images:" ${kept:+"$kept"} "    $image: {digest: \"$digest\"}" > build/images.yaml
  fi
done
