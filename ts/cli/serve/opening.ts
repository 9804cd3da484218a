/** How `serve` opens a target. */

import { openTarget } from '../../targets/open.js'
import type { OpenOptions } from '../../targets/scheme.js'
import type { Target } from '../../targets/target.js'
import { withOwnHint } from '../guest-end.js'
import type { Session } from '../session.js'
import { parseWait, waitBefore } from '../wait.js'
import type { MeasuringOptions } from './options.js'

/** Opens targets until `signal` is aborted, with the wait that the options ask for. */
export type Opening = (uri: string, signal: AbortSignal) => Promise<Target>

/** Throws ERR_ARGUMENT. */
export function parseOpening(
  session: Session,
  options: MeasuringOptions,
  mode: OpenOptions['mode'],
): Opening {
  const wait = parseWait(options)
  return async (uri, signal) => {
    const target = await openTarget(uri, { signal, mode, force: options.force })
    // The results go to those who listen, and a host has a thousand targets.
    target.limitHistory?.(0)
    try {
      await waitBefore(session, target, wait)
      return target
    } catch (error) {
      await target.close()
      throw withOwnHint(error, target)
    }
  }
}
