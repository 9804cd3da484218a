#!/usr/bin/env bash
# Type-checks the workspace for aarch64: nothing outside kvm/arch, machine and workload may assume x86-64.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/aarch64-toolchain.sh
exec cargo check --locked --workspace --target aarch64-unknown-linux-gnu --target-dir target/aarch64
