/**
 * The five steps of QEMU's dirty-bitmap patch series, each as one call. All exact modes use them;
 * only the VM's log differs.
 */

import type {
  CancelToken,
  NativeDeadlineReport,
  NativeReap,
  NativeReapOptions,
  NativeSyncReport,
  NativeVirtualMachine,
} from '../../ground/native.js'
import type { Cost } from '../../results/measurement.js'

/** The outcome of one window. */
export interface ExactRound {
  /** The deadline that was asked for, counted from the opening of the window. */
  requestedMs: number
  /** How much later than the deadline the sync began. */
  lateNs: number
  /** How much longer than asked for the window may be, because its own sync takes time. */
  explainedNs: number
  reap: NativeReap
  cost: Cost
}

/** The cost of the steps 1 and 2. */
export interface Opening {
  startNs: number
  initial: NativeSyncReport
}

/**
 * Does the steps 1 to 3. Afterwards `client` tracks, and its window is open. The caller has
 * acquired the client and must give it back.
 */
export async function openWindow(
  vm: NativeVirtualMachine,
  client: string,
  cancel: CancelToken,
): Promise<Opening> {
  // 1. Turn the log on, unless it is on already.
  const startNs = await vm.startTracking(client)

  // 2. A log that has just been turned on may be all ones: drop this first round, and protect the
  //    pages.
  const initial = await vm.discardInitialLog(cancel)

  // 3. Empty this client's bits. Its window is open.
  await vm.clear(client)

  return { startNs, initial }
}

/**
 * Does the steps 4 and 5 at each deadline. Deadlines are in ms from the opening of the window,
 * ascending. The bits are kept, so each round contains the one before.
 */
async function syncAndReap(
  vm: NativeVirtualMachine,
  client: string,
  deadlinesMs: readonly number[],
  cancel: CancelToken,
  options?: NativeReapOptions,
): Promise<NativeDeadlineReport[]> {
  // 4. Fetch from KVM at the deadline. A native thread keeps the deadline, so that a busy event
  //    loop does not move the end of the window.
  // 5. Reap. The same thread counts the bits right after its fetch, so that a later sync for
  //    another client does not count here.
  const reports: NativeDeadlineReport[] = await vm.syncAt(client, [...deadlinesMs], cancel, options)
  if (reports.length !== deadlinesMs.length)
    throw new RangeError('syncAt answered with no report for a deadline')
  return reports
}

/** Measures from one opening to each of the deadlines. `options` say what the reaps count. */
export async function measureExactly(
  vm: NativeVirtualMachine,
  client: string,
  deadlinesMs: readonly number[],
  cancel: CancelToken,
  options?: NativeReapOptions,
): Promise<ExactRound[]> {
  const opening = await openWindow(vm, client, cancel)
  return roundsOf(vm, opening, await syncAndReap(vm, client, deadlinesMs, cancel, options))
}

/** The rounds that `reports` of one opening are; undefined if the log was on already. */
export function roundsOf(
  vm: NativeVirtualMachine,
  opening: Opening | undefined,
  reports: readonly NativeDeadlineReport[],
): ExactRound[] {
  // A window costs what the windows before it cost, and its own deadline.
  let cost = costOfOpening(vm, opening)
  return reports.map(report => {
    const { requestedMs, lateNs, sync, reap } = report
    cost = withDeadline(cost, report)
    return { requestedMs, lateNs, explainedNs: sync.ns, reap, cost }
  })
}

/** What a window has cost before its first deadline: nothing where the log was on already. */
export function costOfOpening(vm: NativeVirtualMachine, opening: Opening | undefined): Cost {
  const initial = opening?.initial
  return {
    ...(opening === undefined ? {} : { startNs: opening.startNs + opening.initial.ns }),
    syncNs: 0,
    clearNs: initial?.clearNs ?? 0,
    ...(vm.dirtyLog === 'ring' ? { harvestNs: 0 } : {}),
    reapNs: 0,
    ioctlNs: initial?.ioctlNs ?? 0,
    longestLockNs: initial?.longestLockNs ?? 0,
  }
}

/** `cost` and that of one deadline more. */
export function withDeadline(cost: Cost, { sync, reap }: NativeDeadlineReport): Cost {
  const { syncNs = 0, clearNs = 0, harvestNs, reapNs = 0, ioctlNs = 0, longestLockNs = 0 } = cost
  return {
    ...cost,
    syncNs: syncNs + sync.ns,
    clearNs: clearNs + sync.clearNs,
    ...(harvestNs === undefined ? {} : { harvestNs: harvestNs + sync.fetchNs }),
    reapNs: reapNs + reap.reapNs,
    ioctlNs: ioctlNs + sync.ioctlNs,
    longestLockNs: Math.max(longestLockNs, sync.longestLockNs),
  }
}
