#!/usr/bin/env bash
# Runs the tests of the kernels over bitmaps, which is where the core has unchecked memory accesses of its own making, under
# AddressSanitizer. First shows that it would notice: a test that reads past the end of its words must be stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
# The sanitizer is behind a flag that a stable compiler takes only so.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address --cfg address_sanitizer'
tests=(cargo test --locked --target "$target" --target-dir target/address -p dirtyrate --lib bitmap)

if report=$("${tests[@]}" -- --ignored reads_past_the_end 2>&1); then
  echo 'check-address: a read past the end of an allocation was not noticed' >&2
  exit 1
elif ! grep -q 'AddressSanitizer: heap-buffer-overflow' <<<"$report"; then
  echo "$report"
  exit 1
fi
"${tests[@]}"
