/** The mode 'dirty-bitmap': the five steps of the patch series, each one call. */

import type { CancelToken, NativeReap, NativeVirtualMachine } from '../native.js'
import type { Cost } from './result.js'

/** What one window gave. */
export interface BitmapRound {
  reap: NativeReap
  cost: Cost
}

/** Measures one window of `windowMs` with `client`'s bits. Leaves the client tracking: who acquired it gives it back. */
export async function measureByDirtyBitmap(
  vm: NativeVirtualMachine,
  client: string,
  windowMs: number,
  cancel: CancelToken,
): Promise<BitmapRound> {
  // 1. Turn the log on, unless somebody already has.
  const startNs = await vm.startTracking(client)

  // 2. A log that has just gone on is all ones: drop that round and protect the pages by hand.
  const initial = await vm.discardInitialLog(cancel)

  // 3. Empty this client's bits. Its window is open.
  await vm.clear(client)

  // 4. Fetch from KVM at the deadline. A native thread keeps it: an event loop that is busy moves neither end of the window.
  const [deadline] = await vm.syncAt(client, [windowMs], cancel)
  if (deadline === undefined) throw new RangeError('syncAt answered with no report for its deadline')

  // 5. Reap. The same thread has counted the bits right after its fetch: a sync of another client's since then does not count here.
  const { sync, reap } = deadline

  return {
    reap,
    cost: {
      startNs: startNs + initial.ns,
      syncNs: sync.ns,
      clearNs: initial.clearNs + sync.clearNs,
      harvestNs: 0,
      reapNs: reap.reapNs,
      ioctlNs: initial.ioctlNs + sync.ioctlNs,
      longestLockNs: Math.max(initial.longestLockNs, sync.longestLockNs),
    },
  }
}
