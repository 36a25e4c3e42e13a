#!/usr/bin/env bash
# Runs every test of the project, and ends with one line that says how many passed.
#
#   tests/run.sh TARGET_DIR PYTHON
#
# With cargo-nextest the tests share the cores better; without it the same tests run.
set -euo pipefail

target=${1:?usage: tests/run.sh TARGET_DIR PYTHON}
python=${2:?usage: tests/run.sh TARGET_DIR PYTHON}
cargo=${CARGO:-cargo}
here=$(dirname "$(readlink -f "$0")")
# Where the tests leave what they issued, for the judge.
issued=$target/issued-certificates

mkdir -p "$target"
said=$(mktemp "$target/tests.XXXXXX")
ended() {
    # Of libtest: "test result: ok. 5 passed; 0 failed; 1 ignored; …", a line a binary. Of nextest:
    # "Summary [ 1.2s] 5 tests run: 4 passed (1 slow), 1 failed, 1 skipped".
    awk '
        { gsub(/\033\[[0-9;]*m/, "") }
        /^test result: / || /^ *Summary \[/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^failed/) failed += $(i - 1)
                if ($i ~ /^(ignored|skipped)/) skipped += $(i - 1)
            }
        }
        END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }
    ' "$said"
    rm -f "$said"
}
trap ended EXIT

"$cargo" build --locked --workspace --bins
rm -rf "$issued"
export COUNTERSIGN_ISSUED=$issued
if "$cargo" nextest --version >/dev/null 2>&1; then
    "$cargo" nextest run --workspace --locked --no-fail-fast 2>&1 | tee "$said"
else
    "$cargo" test --workspace --locked --no-fail-fast --lib --bins --tests 2>&1 | tee "$said"
fi
# Once more with the state in PostgreSQL: nothing that uses the store may tell the two apart. All tests
# of a process share one server.
COUNTERSIGN_TEST_STORE=postgres "$cargo" test --locked --package countersign-authority --lib 2>&1 |
    tee -a "$said"
"$cargo" test --workspace --locked --doc 2>&1 | tee -a "$said"
"$python" "$here/judge.py" "$issued"
