#!/usr/bin/env bash
# Runs tests under AddressSanitizer: of the core all that are in the library (bitmaps, rings,
# blocks, guest memory), and those on real VMs that map, unmap and share memory; of the binding
# those that fill memory of JavaScript's. First shows that it would notice: a test that reads past
# the end of its words must be stopped.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

target=$(rustc -vV | sed -n 's/^host: //p')
# The sanitizer is behind a flag that a stable compiler takes only so.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address --cfg address_sanitizer'
# Asking for more memory than there is gets no memory, and not the end of the process: some tests do
# so.
export ASAN_OPTIONS=allocator_may_return_null=1
cargo_test() { cargo test --locked --target "$target" --target-dir target/address "$@"; }

if report=$(cargo_test -p dirtyrate --lib -- --ignored reads_past_the_end 2>&1); then
  echo 'address: a read past the end of an allocation was not noticed' >&2
  exit 1
elif ! grep -q 'AddressSanitizer: heap-buffer-overflow' <<<"$report"; then
  echo "$report"
  exit 1
fi
cargo_test -p dirtyrate -p dirtyrate-machine --lib --test rings --test ring_hazards --test blocks_come_and_go --test life --test sampling_blocks --test windows

cargo build --locked --target "$target" --target-dir target/address -p dirtyrate-node
cp "target/address/$target/debug/libdirtyrate_node.so" target/address/dirtyrate.node
# Node has no sanitizer in it: the C compiler's comes first. What Node itself does not free at its
# end is not looked for.
ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=$("${CC:-cc}" -print-file-name=libasan.so) \
  DIRTYRATE_TEST_BINDING=$PWD/target/address/dirtyrate.node \
  node node_modules/vitest/vitest.mjs run __test__/targets/vm/dirty-memory.test.ts
