/**
 * The package's own interfaces have the members of the binding's, no fewer and no more: what the
 * core reports reaches its caller.
 */

import { expectTypeOf, it } from 'vitest'
import type * as Native from '../../../native/binding.cjs'
import type {
  BlockReap,
  Capabilities,
  Crash,
  DeadlineReport,
  RamBlockInfo,
  Reap,
  RingReap,
  SyncReport,
  Truth,
  VcpuReap,
  WorkloadInstant,
} from '../../../ts/index.js'

/**
 * `T` without its readonly marks: a result of this package is not to be changed, and one of the
 * binding may be.
 */
type Writable<T> = { -readonly [Key in keyof T]: Writable<T[Key]> }

it('are the same types', () => {
  expectTypeOf<Capabilities>().toEqualTypeOf<Native.NativeCapabilities>()
  expectTypeOf<RamBlockInfo>().toEqualTypeOf<Native.NativeBlock>()
  expectTypeOf<Crash>().toEqualTypeOf<Native.NativeCrash>()
  expectTypeOf<SyncReport>().toEqualTypeOf<Native.NativeSyncReport>()
  expectTypeOf<BlockReap>().toEqualTypeOf<Native.NativeBlockReap>()
  expectTypeOf<RingReap>().toEqualTypeOf<Native.NativeRingReap>()
  expectTypeOf<VcpuReap>().toEqualTypeOf<Native.NativeVcpuReap>()
  expectTypeOf<Writable<Reap>>().toEqualTypeOf<Writable<Native.NativeReap>>()
  expectTypeOf<Writable<DeadlineReport>>().toEqualTypeOf<Writable<Native.NativeDeadlineReport>>()
  expectTypeOf<WorkloadInstant>().toEqualTypeOf<Native.NativeInstant>()
  expectTypeOf<Writable<Truth>>().toEqualTypeOf<Writable<Native.NativeTruth>>()
})
