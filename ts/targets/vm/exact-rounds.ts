/** Rounds of an exact mode, one after the other without a gap. */

import type { CancelToken, NativeReapOptions, NativeVirtualMachine } from '../../ground/native.js'
import { Schedule } from '../../measurement/schedule.js'
import { accumulator } from './client.js'
import {
  costOfOpening,
  type ExactRound,
  type Opening,
  openWindow,
  withDeadline,
} from './five-steps.js'

/**
 * Measures rounds of an exact mode: the steps 1 to 3 once, then the steps 4 and 5 in one call for
 * each round. One client tracks from the first opening until the loop is left, and its bits are
 * taken with each sync. So every page that is written in this time is in one of the rounds.
 * Deadlines are multiples of `everyMs` after the first opening. If the loop asks late, it gets one
 * longer window. `options` say what each reap counts.
 */
export async function* exactRounds(
  vm: NativeVirtualMachine,
  everyMs: number,
  cancel: CancelToken,
  options?: NativeReapOptions,
): AsyncGenerator<ExactRound, void, undefined> {
  const { client, giveBack } = accumulator(vm)
  try {
    let opening: Opening | undefined = await openWindow(vm, client, cancel)
    const schedule = new Schedule(everyMs)
    for (;;) {
      const windowMs = schedule.nextWindowMs()
      const { report, reopenedNs } = await vm.takeAt(client, windowMs, cancel, options)
      schedule.reopened(reopenedNs)
      // The requested length is a multiple of `everyMs`. The window can be shorter, because the
      // window before it may have ended late.
      const requestedMs = Math.max(1, Math.round(windowMs / everyMs)) * everyMs
      const { reap, lateNs, sync } = report
      yield {
        requestedMs,
        lateNs,
        explainedNs: sync.ns,
        reap,
        cost: withDeadline(costOfOpening(vm, opening), report),
      }
      opening = undefined
    }
  } finally {
    // The loop must see what ended the rounds, and not that the log could not be turned off after
    // that.
    await giveBack().catch(() => undefined)
  }
}
