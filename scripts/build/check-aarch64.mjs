// Type-checks the workspace and its tests for aarch64, on which the rigs run them, and assembles
// the guest's code. zig compiles the C code of dependencies, as for the rigs.

import { crossAssemble, crossCheck } from './cross-build.mjs'
import { orGiveUp } from './prerequisites.mjs'

const TARGET = 'aarch64-unknown-linux-gnu'

orGiveUp(() => {
  crossCheck(TARGET)
  crossAssemble(TARGET, 'dirtyrate-machine')
})
