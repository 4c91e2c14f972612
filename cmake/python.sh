#!/usr/bin/env bash
# Installs the Python module, as `pip install .` does, into an environment of its own, build/python-venv, with a torch from PyPI
# (TORCH says which), and runs its tests and examples there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=$PWD/build/python-venv
readonly torch=${TORCH:-torch==2.13.0}
export OMP_NUM_THREADS=1 PYTHONPATH=

mkdir -p build
if [[ ! -f $venv/complete || $(< "$venv/complete") != "$torch" ]]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$torch" numpy scikit-learn 'scikit-build-core>=0.10' ninja mypy
  printf '%s\n' "$torch" > "$venv/complete"
fi
PATH=$venv/bin:$PATH "$venv/bin/pip" install --quiet --no-build-isolation --no-deps --force-reinstall .

# Away from this folder, whose bilevel/ holds the C++ sources.
"$venv/bin/bilevel" --version
source=$PWD
cd build
"$venv/bin/python" -m unittest discover --buffer --start-directory "$source/python/tests"
for example in "$source"/python/examples/*.py; do
  printf '\n%s\n' "${example#"$source/"}"
  BILEVEL_DATA=${BILEVEL_DATA:-$source/../shared/data} "$venv/bin/python" "$example" || (($? == 77))
done
"$venv/bin/mypy" --config-file "$source/pyproject.toml" "$source"/python/examples/*.py
printf '\nThe module is in %s: %s/bin/python\n' "$venv" "$venv"
