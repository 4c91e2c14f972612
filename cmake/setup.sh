#!/usr/bin/env bash
# Makes the tree ready to build: installs the Debian packages that are missing, gets LibTorch, configures the preset
# "release" in build/. What is there already is left alone, so that a second call needs neither network nor root and
# takes a fraction of a second.
#
#   packages           as the argument: only the Debian packages
#   CMAKE_PREFIX_PATH  where to look first, as CMake has it; a LibTorch found there is used instead of an own one
#   CMAKE_ARGS         further arguments for the configuration, such as -DBILEVEL_WARNINGS_AS_ERRORS=ON
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly torch_version=2.13.0
readonly venv=build/venv
readonly settings=build/setup.settings  # prefix and arguments of the last configuration

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# ---- Debian packages ----

# package:command: satisfied by the command, wherever it comes from; a package alone: by the package.
readonly required=(g++:g++ cmake:cmake ninja-build:ninja libcli11-dev nlohmann-json3-dev libcsv-dev zlib1g-dev
  libzstd-dev libutf8proc-dev libgtest-dev)
readonly optional=(ccache:ccache gnuplot-nox:gnuplot clang-format:clang-format libxgboost0
  python3-dev:python3-config)

# Prints the first Python of at least 3.9 that can make a virtual environment.
find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2> /dev/null; then
      printf '%s' "$python"
      return
    fi
  done
  return 1
}

# Prints those of the given packages that are missing.
missing() {
  local entry package
  for entry in "$@"; do
    package=${entry%%:*}
    if [[ $entry == *:* ]] && command -v "${entry#*:}" > /dev/null; then continue; fi
    if [[ " $installed " != *" $package "* ]]; then printf '%s ' "$package"; fi
  done
}

install_packages() {
  local names=("${required[@]%%:*}" "${optional[@]%%:*}") needed wanted
  if ! command -v dpkg-query > /dev/null; then
    say "no Debian packages here; the build needs what these hold: ${names[*]}"
    return
  fi
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${names[@]}" 2> /dev/null |
    sed -n 's/ installed$//p' | tr '\n' ' ' || true)
  needed=$(missing "${required[@]}")
  if ! find_python > /dev/null; then needed+='python3-venv '; fi
  wanted=$(missing "${optional[@]}")
  if [[ -z $needed$wanted ]]; then return; fi

  local as_root=()
  if ((EUID != 0)); then
    if command -v sudo > /dev/null && { [[ -t 0 ]] || sudo -n true 2> /dev/null; }; then
      as_root=(sudo)
    elif [[ -n $needed ]]; then
      die "these packages are missing and need root: apt-get install ${needed}${wanted}"
    else
      say "not installed, because that needs root (the build goes on without): ${wanted}"
      return
    fi
  fi
  say "installing ${needed}${wanted}"
  "${as_root[@]}" apt-get update -qq
  # shellcheck disable=SC2086  # the lists are words
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $needed $wanted
}

# ---- LibTorch ----

# Whether one of the folders of a list (separated by ':' or ';') leads to a LibTorch: to its own folder, or to the
# share/cmake that torch.utils.cmake_prefix_path prints.
leads_to_libtorch() {
  local folder up
  local -a folders
  IFS=':;' read -r -a folders <<< "$1"
  for folder in "${folders[@]}"; do
    for up in '' /../.. /../../..; do
      if [[ -n $folder && -f $folder$up/include/torch/csrc/api/include/torch/torch.h ]]; then return 0; fi
    done
  done
  return 1
}

# Sets `prefix` to a search path that leads to a LibTorch.
find_libtorch() {
  prefix=${CMAKE_PREFIX_PATH:-}
  if leads_to_libtorch "$prefix"; then return; fi
  local last
  if last=$(sed -n 1p "$settings" 2> /dev/null) && [[ -z $prefix ]] && leads_to_libtorch "$last"; then
    prefix=$last
    return
  fi
  if [[ ! -f $venv/complete ]]; then
    local python
    python=$(find_python) || die "no python3 of version 3.9 or newer with the module venv (Debian: python3-venv)"
    say "installing LibTorch $torch_version into $venv (this can take a few minutes)"
    mkdir -p build
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "torch==$torch_version"
    touch "$venv/complete"
  fi
  local own
  own=$(echo "$PWD/$venv"/lib/python3*/site-packages/torch)
  leads_to_libtorch "$own" || die "$venv holds no LibTorch; remove it and try again"
  prefix=$own${prefix:+:$prefix}
}

# ---- configuration ----

configure() {
  local wanted
  wanted=$(printf '%s\n%s' "$prefix" "${CMAKE_ARGS:-}")
  if [[ -f build/build.ninja && -f $settings && $(< "$settings") == "$wanted" ]]; then return; fi
  # shellcheck disable=SC2086  # the arguments are words
  cmake --preset release "-DCMAKE_PREFIX_PATH=${prefix//:/;}" ${CMAKE_ARGS:-}
  printf '%s\n' "$wanted" > "$settings"
}

install_packages
if [[ ${1:-} == packages ]]; then exit; fi
find_libtorch
configure
