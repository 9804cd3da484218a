/** When rounds may begin: the clock by which they are due. */

import { performance } from 'node:perf_hooks'
import { pause } from '../ground/pause.js'

/** The clock of the rounds of all targets. */
export interface Pace {
  /** A time in ms, which never goes back. */
  now(): number
  /** Resolves when so much of this time has passed, and a round may begin. */
  pause(ms: number, signal: AbortSignal): Promise<void>
  /** A round has begun. The returned function says that it has ended. */
  begun(): () => void
}

/** The time of the host: every round may begin when it is due. */
export const hostPace: Pace = {
  now: () => performance.now(),
  pause,
  begun: () => () => {},
}
