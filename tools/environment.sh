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
# FOLDER/made is written last, so what was interrupted does not count. It says what was asked for and
# which packages came of it. Fresh means: the same asked for, no input newer, no package damaged or gone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
inputs=(setup.cfg pyproject.toml tools/environment.sh tools/installed.py)

# Print the interpreter behind the command $1, not a shim or an environment that may go away, if it is
# CPython $2 and can make environments with pip; Debian, for one, ships Pythons that cannot.
usable() {
    "$1" - "$2" 2>/dev/null <<'PYTHON'
import ctypes, ensurepip, sqlite3, ssl, sys, sysconfig, venv
version = "%d.%d" % sys.version_info[:2]
if version not in sys.argv[1].split() or sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
print(sys._base_executable)
PYTHON
}

# Print the commands that may be Python $1, one a line: on PATH, of pyenv, of uv.
candidates() {
    type -ap "python$1" python3 python || true
    local roots=("$HOME/.pyenv") root
    if root=$(pyenv root 2>/dev/null); then roots=("$root"); fi
    for root in "${roots[@]}"; do
        for candidate in "$root/versions/$1"*/bin/python; do echo "$candidate"; done
    done
    UV_PYTHON_DOWNLOADS=never uv python find "$1" 2>/dev/null || true
}

# Print the interpreter to use for the versions $1.
find_interpreter() {
    local version candidate
    if [ -n "${INTERPRETER:-}" ]; then
        usable "$INTERPRETER" "$1" && return
        echo "$INTERPRETER: not a Python ${1// / or } that can make environments with pip" >&2
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
python=$folder/bin/python
asked="$PWD | $* | ${SNN_CODEC_PIP_ARGS:-}"
