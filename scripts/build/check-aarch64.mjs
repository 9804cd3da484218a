// Type-checks the workspace and its tests for aarch64; the rigs run them. C in what they depend on is compiled by zig, as it is there.

import { crossCheck } from './cross-build.mjs'
import { orGiveUp } from './prerequisites.mjs'

orGiveUp(() => crossCheck('aarch64-unknown-linux-gnu'))
