/** The links that migrations are predicted for. */

import { argumentError } from '../ground/errors.js'
import { type MigrationOptions, parseMigrationOptions, type Wanted } from '../prediction/options.js'

/** A bandwidth with a downtime. */
export interface Link {
  /** As it was given, for the label. */
  readonly bandwidth: string
  readonly downtime: string
  /** What the prediction takes. */
  readonly wanted: Wanted
}

/** What a command line says about links, each list separated by commas. */
export interface LinkOptions {
  readonly bandwidth?: string | undefined
  readonly downtime?: string | undefined
  readonly profile?: string | undefined
}

/** Each pair takes time after each curve, and has series of its own. */
const MOST_PAIRS = 32

/** Every pair of a bandwidth and a downtime. Throws ERR_ARGUMENT. */
export function parseLinks({ bandwidth, downtime, profile }: LinkOptions): Link[] {
  if (bandwidth === undefined && downtime === undefined) {
    if (profile !== undefined)
      throw argumentError('--profile: used only with --bandwidth', 'Give --bandwidth too.')
    return []
  }
  if (bandwidth === undefined)
    throw argumentError('--downtime: used only with --bandwidth', 'Give --bandwidth too.')
  if (downtime === undefined)
    throw argumentError('--bandwidth: used only with --downtime', 'Give --downtime too.')
  const bandwidths = listOf(bandwidth)
  const downtimes = listOf(downtime)
  const pairs = bandwidths.length * downtimes.length
  if (pairs > MOST_PAIRS) {
    throw argumentError(
      `--bandwidth: ${pairs} pairs of a bandwidth and a downtime are too many`,
      `Give at most ${MOST_PAIRS}.`,
    )
  }
  const named = (option: keyof MigrationOptions): string => `--${option}`
  return bandwidths.flatMap(rate =>
    downtimes.map(time => ({
      bandwidth: rate,
      downtime: time,
      wanted: parseMigrationOptions({ bandwidth: rate, downtime: time, profile }, named),
    })),
  )
}

const listOf = (text: string): string[] => [...new Set(text.split(',').map(part => part.trim()))]
