/**
 * What the command says about a guest that has ended, because the hints of the API name its calls.
 */

import { DirtyRateError, hasCode } from '../ground/errors.js'
import type { Target } from '../targets/target.js'
import type { EndState } from '../targets/vm/lifecycle.js'
import type { Crash } from '../targets/vm/reports.js'
import { crashText } from '../targets/vm/running.js'

/** The part of a target that says how its guest ended, for targets that know it. */
interface Ending {
  readonly ended?: Promise<EndState>
  readonly state?: string
  readonly crash?: Crash | null
  /** How long QEMU goes on with a measurement that was aborted, in ms. */
  readonly goesOnMs?: number
}

const SHUT_DOWN =
  'The guest switched itself off: measure earlier, or give a guest that runs for longer.'
const CRASHED =
  'The guest cannot go on: give another image, command line or machine, and run this again.'

/** The end of the guest of `target`; undefined if the target cannot know it. */
export function endOf(target: Target): Promise<EndState> | undefined {
  return (target as Ending).ended
}

/**
 * The error of a command whose guest has ended in the state `end`. `name` is the option that
 * waited, and `when` the end of the sentence.
 */
export function endedError(
  target: Target,
  end: EndState | undefined,
  { name, when, hint }: { name: string; when: string; hint?: string | undefined },
): DirtyRateError {
  if (end !== 'crashed')
    return new DirtyRateError('ERR_STATE', `${name}: the guest ended ${when}`, {
      hint: hint ?? SHUT_DOWN,
    })
  const { crash } = target as Ending
  return new DirtyRateError(
    'ERR_GUEST_CRASHED',
    `${name}: the guest crashed ${when}: ${crashText(crash ?? null)}`,
    { hint: hint ?? CRASHED },
  )
}

/**
 * `error` of a command that was interrupted, with a longer hint if a QEMU goes on measuring one of
 * the targets. Nobody can stop that.
 */
export function interrupted(error: unknown, targets: readonly Target[]): unknown {
  const leftMs = Math.max(0, ...targets.map(target => (target as Ending).goesOnMs ?? 0))
  if (leftMs === 0 || !hasCode(error, 'ERR_CANCELLED')) return error
  const { code, message, hint, details } = error as DirtyRateError
  const goesOn = `QEMU goes on measuring until its window ends, in ${Math.ceil(leftMs / 1000)} s.`
  return new DirtyRateError(code, message, { hint: `${hint} ${goesOn}`, details, cause: error })
}

/**
 * `error` with a hint for the command line, if the guest of `target` has ended, or if QEMU goes on
 * measuring it.
 */
export function withOwnHint(error: unknown, target: Target): unknown {
  if (hasCode(error, 'ERR_CANCELLED')) return interrupted(error, [target])
  const { state } = target as Ending
  const hint =
    state === 'shutdown' && hasCode(error, 'ERR_STATE')
      ? SHUT_DOWN
      : state === 'crashed' && hasCode(error, 'ERR_GUEST_CRASHED')
        ? CRASHED
        : undefined
  // An error of the command itself has its own hint already.
  if (hint === undefined || (error as DirtyRateError).message.startsWith('--')) return error
  const { code, message, details } = error as DirtyRateError
  return new DirtyRateError(code, message, { hint, details, cause: error })
}
