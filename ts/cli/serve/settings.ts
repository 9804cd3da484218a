/** How a target is opened and measured, and what is predicted: its options, checked. */

import { argumentError } from '../../ground/errors.js'
import { type Link, parseLinks } from '../../metrics/links.js'
import type { RoundsPlan } from '../../server/rounds.js'
import type { Session } from '../session.js'
import { type Opening, parseOpening } from './opening.js'
import type { MeasuringOptions } from './options.js'
import { parsePlan } from './plan.js'

export interface Settings {
  readonly plan: Omit<RoundsPlan, 'offsetMs' | 'opensWhenDue'>
  readonly links: readonly Link[]
  readonly open: Opening
  /** The options that change how the target is opened, as one text. */
  readonly opening: string
  /** All options, as one text. */
  readonly all: string
}

/** Throws ERR_ARGUMENT. `uris` are the targets that are measured so. */
export function parseSettings(
  session: Session,
  options: MeasuringOptions,
  uris: readonly string[],
): Settings {
  const links = parseLinks(options)
  const plan = parsePlan(options, uris)
  if (links.length > 0 && plan.curve === undefined) {
    throw argumentError(
      '--bandwidth: a prediction needs a curve, and with --curve-every never there is none',
      'Leave out one of the two.',
    )
  }
  const { mode, force, delay, untilConsole, consoleTimeout } = options
  return {
    plan,
    links,
    open: parseOpening(session, options, plan.measuring.mode),
    opening: JSON.stringify([mode, force, delay, untilConsole, consoleTimeout]),
    all: JSON.stringify(Object.entries(options).sort()),
  }
}
