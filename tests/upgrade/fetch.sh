#!/usr/bin/env bash
# Fetches the crates that the newest release is built of. Its lock file may name others than ours, and the
# stories that upgrade from it build it without a network.
#
#   tests/upgrade/fetch.sh
#
# Without the history, as in an archive of the sources, it fetches nothing and says so: those stories say what is
# missing, and nothing else needs it.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
project=${here%/tests/upgrade}
cargo=${CARGO:-cargo}

commit=$(awk '!/^#/ { print $2; exit }' "$here/RELEASED")
if ! git -C "$project" cat-file -e "$commit^{tree}" 2>/dev/null; then
    echo "the release, $commit, cannot be read from the history here: its crates are not fetched, and the tests" \
        "that upgrade from it fail and say why" >&2
    exit 0
fi
sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
git -C "$project" archive "$commit" | tar -x -C "$sources"
echo "fetching the crates of the release $commit" >&2
host=$("$cargo" -vV | sed -n 's/^host: //p')
"$cargo" fetch --quiet --locked --target "$host" --manifest-path "$sources/Cargo.toml"
