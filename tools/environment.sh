#!/usr/bin/env bash
# Make a virtual environment that holds this project, or do nothing if it is there and fresh.
#
#   tools/environment.sh make FOLDER VERSIONS EXTRAS [REQUIREMENT...]
#   tools/environment.sh find VERSIONS          print the interpreter that `make` would take
#
# VERSIONS are Python versions, best first ("3.13 3.12"); EXTRAS are of setup.cfg ("dev plots").
# INTERPRETER, if set, is the Python to use; SNN_CODEC_PIP_ARGS holds more arguments for `pip install`.
# Exit status 3: no Python of these versions works here.
#
# FOLDER/made is written last, so what was interrupted does not count: it is made anew. Fresh means that
# the same was asked for, no input is newer, and no package is damaged or gone.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
inputs=(setup.cfg pyproject.toml tools/environment.sh tools/installed.py)

# Print the interpreter behind the command $1, not a shim or an environment that may go away, if it is
# CPython of the versions $2 and can make environments with pip (Debian, for one, ships some that cannot).
usable() {
    "$1" - "$2" 2>/dev/null <<'PYTHON'
import ctypes, ensurepip, os, sqlite3, ssl, sys, sysconfig, venv
fits = "%d.%d" % sys.version_info[:2] in sys.argv[1].split() and sys.implementation.name == "cpython"
if not fits or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
print(os.path.realpath(sys._base_executable))
PYTHON
}

# Print commands that may be Python $1, one a line: on PATH, of pyenv, of uv.
candidates() {
    type -ap "python$1" python3 python || true
    printf '%s\n' "$(pyenv root 2>/dev/null || echo ~/.pyenv)/versions/$1"*/bin/python
    UV_PYTHON_DOWNLOADS=never uv python find "$1" 2>/dev/null || true
}

# Print the interpreter to use for the versions $1.
find_interpreter() {
    local version candidate
    if [ -n "${INTERPRETER:-}" ]; then
        usable "$INTERPRETER" "$1" && return
        echo "$INTERPRETER: not a Python ${1// /, } that can make environments with pip" >&2
        return 1
    fi
    for version in $1; do
        while IFS= read -r candidate; do
            usable "$candidate" "$version" && return
        done < <(candidates "$version")
    done
    return 3
}

if [ "$1" = find ]; then
    find_interpreter "$2"
    exit
fi

folder=$2 versions=$3 extras=$4
shift 4
python=$folder/bin/python made=$folder/made
interpreter=
if [ -n "${INTERPRETER:-}" ]; then interpreter=$(find_interpreter "$versions"); fi

lost=
if [ -f "$made" ] && { IFS= read -r place && IFS= read -r had && IFS= read -r wanted; } <"$made" &&
    [ "$place" = "$PWD" ] && base=$(usable "$python" "$versions") && [ "${interpreter:-$base}" = "$base" ]; then
    extras=$(printf '%s\n' $had $extras | sort -u | xargs)
    lost=$(tail -n +4 "$made" | grep -vxFf <("$python" tools/installed.py) || true)
    stale=$lost
    if [ "$extras" != "$had" ] || [ "$*" != "$wanted" ]; then stale=yes; fi
    for input in "${inputs[@]}"; do
        if [ "$input" -nt "$made" ]; then stale=yes; fi
    done
    if [ -z "$stale" ]; then exit; fi
    echo "Updating $folder."
    rm "$made"
    if [ -n "$lost" ]; then "$python" -m pip uninstall --quiet --yes $lost; fi
else
    extras=$(printf '%s\n' $extras | sort -u | xargs)
    if [ -z "$interpreter" ]; then interpreter=$(find_interpreter "$versions"); fi
    echo "Making $folder with $interpreter; this downloads PyTorch and takes some minutes."
    rm -rf "$folder"
    "$interpreter" -m venv "$folder"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
# Setuptools writes here, not beside setup.cfg, as another environment may be made at the same time. It does so also where
# it builds a dependency that comes as source, in a folder of pip's: hence the whole path.
printf '[egg_info]\negg_base = %s\n' "$PWD/$folder" >"$folder/setuptools.cfg"
export DIST_EXTRA_CONFIG=$PWD/$folder/setuptools.cfg
quiet=--quiet
if [ -t 1 ]; then quiet=; fi
# Python compiles what it imports; pip would compile all, of which most is never used. But the processes of Lava that
# we start write no bytecode.
case " $extras " in *' lava '*) compile= ;; *) compile=--no-compile ;; esac
"$python" -m pip install $quiet $compile ${SNN_CODEC_PIP_ARGS:-} --editable ".[${extras// /,}]" "$@"
{
    printf '%s\n' "$PWD" "$extras" "$*"
    "$python" tools/installed.py
} >"$made.new"
mv "$made.new" "$made"
