/**
 * The five steps of QEMU's dirty-bitmap patch series, each as one call. All exact modes use them;
 * only the VM's log differs.
 */

import type {
  CancelToken,
  NativeDeadlineReport,
  NativeReap,
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

  // 2. A log that has just been turned on may be all ones: drop this first round, and protect the pages.
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
): Promise<NativeDeadlineReport[]> {
  // 4. Fetch from KVM at the deadline. A native thread keeps the deadline, so that a busy event
  //    loop does not move the end of the window.
  // 5. Reap. The same thread counts the bits right after its fetch, so that a later sync for
  //    another client does not count here.
  const reports: NativeDeadlineReport[] = await vm.syncAt(client, [...deadlinesMs], cancel)
  if (reports.length !== deadlinesMs.length)
    throw new RangeError('syncAt answered with no report for a deadline')
  return reports
}

/** Measures from one opening to each of the deadlines. */
export async function measureExactly(
  vm: NativeVirtualMachine,
  client: string,
  deadlinesMs: readonly number[],
  cancel: CancelToken,
): Promise<ExactRound[]> {
  const opening = await openWindow(vm, client, cancel)
  const reports = await syncAndReap(vm, client, deadlinesMs, cancel)
  return reports.map(({ requestedMs, lateNs, sync, reap }, at) => ({
    requestedMs,
    lateNs,
    explainedNs: sync.ns,
    reap,
    cost: costOf(vm, opening, reports.slice(0, at + 1)),
  }))
}

/** The cost of these deadlines, and of the opening if the window was opened for them. */
export function costOf(
  vm: NativeVirtualMachine,
  opening: Opening | undefined,
  reports: readonly NativeDeadlineReport[],
): Cost {
  const sum = (of: (report: NativeDeadlineReport) => number): number =>
    reports.reduce((total, report) => total + of(report), 0)
  const initial = opening?.initial
  return {
    ...(opening === undefined ? {} : { startNs: opening.startNs + opening.initial.ns }),
    syncNs: sum(({ sync }) => sync.ns),
    clearNs: (initial?.clearNs ?? 0) + sum(({ sync }) => sync.clearNs),
    ...(vm.dirtyLog === 'ring' ? { harvestNs: sum(({ sync }) => sync.fetchNs) } : {}),
    reapNs: sum(({ reap }) => reap.reapNs),
    ioctlNs: (initial?.ioctlNs ?? 0) + sum(({ sync }) => sync.ioctlNs),
    longestLockNs: Math.max(initial?.longestLockNs ?? 0, ...reports.map(({ sync }) => sync.longestLockNs)),
  }
}
