#!/usr/bin/env bash
# Fuzzes the kernels over bitmaps, and what reads boot files, each target for so many seconds: bash
# scripts/test/fuzz.sh [SECONDS] [TARGET…]; 4 and all by default. None may take more than 512 MiB of
# memory, 64 MiB of it in one piece, or 10 seconds for one input. Installs cargo-fuzz below target/
# where there is none. What a target finds stays in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

version=0.13.2
seconds=${1:-4}
targets=("${@:2}")
# The sanitizer and the coverage are behind flags that a stable compiler takes only so.
export RUSTC_BOOTSTRAP=1
export PATH="$PWD/target/tools/bin:$PATH"
where=(--fuzz-dir fuzz)

if [[ "$(cargo fuzz --version 2>/dev/null)" != "cargo-fuzz $version" ]]; then
  cargo install --quiet --locked cargo-fuzz --version "$version" --root target/tools
fi
cargo fuzz build "${where[@]}" --target-dir target/fuzz
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list "${where[@]}")
for target in "${targets[@]}"; do
  printf 'fuzz: %s\n' "$target"
  cargo fuzz run "${where[@]}" --target-dir target/fuzz "$target" -- \
    -max_total_time="$seconds" -max_len=256 -rss_limit_mb=512 -malloc_limit_mb=64 -timeout=10 -verbosity=0 -print_final_stats=1
done
