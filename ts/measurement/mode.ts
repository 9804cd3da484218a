/** The choice of a mode among those that a target has. */

import { parseChoice } from '../ground/arguments.js'
import { type Mode, modes } from '../results/mode.js'
import { parseSampling, refuseIgnored, refuseSampling, type SampleOptions } from './sampling.js'
import type { Method, Source } from './source.js'

/** What a caller may ask for: a mode, or `auto`, which is the first mode that the target has. */
export type WantedMode = Mode | 'auto'

/** Returns `wanted` if it is a mode or 'auto'. Throws ERR_ARGUMENT, which calls it `name`. */
export function parseMode(wanted: unknown, name = 'mode'): WantedMode {
  return parseChoice(wanted, name, [...modes, 'auto'])
}

/** How to measure `source`. Throws ERR_ARGUMENT, ERR_MODE_UNAVAILABLE. */
export function chooseMethod(
  source: Pick<Source, 'modes' | 'modeUnavailable' | 'ignoredSampling'>,
  options: SampleOptions & { mode?: WantedMode | undefined },
): Method {
  const wanted = parseMode(options.mode ?? 'auto')
  const found = source.modes.find(({ mode }) => wanted === 'auto' || mode === wanted)
  if (found === undefined) throw source.modeUnavailable(wanted as Mode)
  const { mode } = found
  if (mode === 'page-sampling') {
    const samples = parseSampling(options)
    refuseIgnored(options, source.ignoredSampling)
    return { mode, samples }
  }
  refuseSampling(mode, options)
  return { mode }
}
