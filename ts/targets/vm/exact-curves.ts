/** Curves of an exact mode, one after the other without a gap. */

import type { CancelToken, NativeReapOptions, NativeVirtualMachine } from '../../ground/native.js'
import { accumulator } from './client.js'
import { type ExactRound, type Opening, openWindow, roundsOf } from './five-steps.js'

/**
 * Measures curves with the windows `deadlinesMs`, one after the other. One client tracks from the
 * first opening until the loop is left. Its bits are taken at the last deadline of each curve, so
 * the windows of the next curve open at the instant at which the last one of this curve ended, and
 * every page that is written in this time is in one of the curves.
 */
export async function* exactCurves(
  vm: NativeVirtualMachine,
  deadlinesMs: readonly number[],
  options: NativeReapOptions,
  cancel: CancelToken,
): AsyncGenerator<ExactRound[], void, undefined> {
  const { client, giveBack } = accumulator(vm)
  const [before, last = 0] = [deadlinesMs.slice(0, -1), deadlinesMs.at(-1)]
  try {
    let opening: Opening | undefined = await openWindow(vm, client, cancel)
    for (;;) {
      const reports = before.length === 0 ? [] : await vm.syncAt(client, before, cancel, options)
      const { report } = await vm.takeAt(client, last, cancel, options)
      yield roundsOf(vm, opening, [...reports, report])
      opening = undefined
    }
  } finally {
    // The loop must see what ended the curves, and not that the log could not be turned off after
    // that.
    await giveBack().catch(() => undefined)
  }
}
