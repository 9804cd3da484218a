#!/usr/bin/env bash
# Type-checks the workspace and its tests for aarch64; the rigs run them.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/aarch64-toolchain.sh
exec cargo check --locked --workspace --tests --target aarch64-unknown-linux-gnu --target-dir target/aarch64
