// Type-checks the workspace and its tests for aarch64, on which the rigs run them. zig compiles the
// C code of dependencies, as for the rigs.

import { crossCheck } from './cross-build.mjs'
import { orGiveUp } from './prerequisites.mjs'

orGiveUp(() => crossCheck('aarch64-unknown-linux-gnu'))
