/** The options of a plan, checked. */

import {
  type OptionNames,
  parseChoice,
  parseCount,
  parseOptions,
  show,
} from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type { Duration, Rate } from '../../ground/units.js'
import { arrayOf } from '../checks.js'
import {
  type MigrationOptions,
  type Naming,
  parseMigrationOptions,
  secondsOf,
  type Wanted,
} from '../options.js'
import type { MigrationProfile } from '../profiles.js'

/** The ways in which a VM can leave its host, from the one that its guest notices least. */
export const planMethods = [
  'live',
  'more-downtime',
  'compression',
  'post-copy',
  'shutdown',
] as const

/**
 * A way in which a VM can leave its host. `live`: within the downtime. `more-downtime`: within the
 * longest downtime. `compression`: with multifd and zstd. `post-copy`: the guest goes on at the
 * destination after one pass. `shutdown`: the guest stands still while all of its memory is copied.
 */
export type PlanMethod = (typeof planMethods)[number]

/** Whether the software of the VMs has a method. */
export function canBy({ waysOut }: MigrationProfile, method: PlanMethod): boolean {
  return (method !== 'compression' && method !== 'post-copy') || waysOut.includes(method)
}

/** What a plan has to know besides the curves. */
export interface PlanOptions {
  /** What the link carries that all migrations share: `'25Gbit/s'`. */
  bandwidth: Rate
  /** How long each guest may stand still. */
  downtime: Duration
  /**
   * The methods that are allowed. A VM takes the first one by which it surely goes. Default:
   * `['live']`.
   */
  methods?: readonly PlanMethod[] | undefined
  /** With the method `more-downtime`: how long a guest may stand still at most. */
  mostDowntime?: Duration | undefined
  /** What one migration carries at most, whatever the link could. Default: `bandwidth`. */
  bandwidthPerVm?: Rate | undefined
  /** How many migrations may run at once. Default: 8. */
  parallel?: number | undefined
  /** How long each migration takes beside the copying, without using the link. Default: 0. */
  overhead?: Duration | undefined
  /** With the method `compression`: how many CPUs may compress. Default: 8. */
  channels?: number | undefined
  /** The VMM, as for a prediction. Default: `'qemu'`. */
  profile?: MigrationOptions['profile']
  /** How long the state of the devices takes while a guest stands still. Default: 0. */
  deviceState?: Duration | undefined
}

const NAMES: OptionNames<PlanOptions> = {
  bandwidth: true,
  downtime: true,
  methods: true,
  mostDowntime: true,
  bandwidthPerVm: true,
  parallel: true,
  overhead: true,
  channels: true,
  profile: true,
  deviceState: true,
}

/** Options in bytes and seconds. */
export interface Task {
  /** What one migration has that has the link for itself. */
  readonly wanted: Wanted
  readonly linkBytesPerSecond: number
  readonly methods: readonly PlanMethod[]
  readonly mostDowntime: number
  readonly parallel: number
  readonly overhead: number
  readonly channels: number
}

const MOST_PARALLEL = 64
const PARALLEL = 8
const MOST_CHANNELS = 255
const CHANNELS = 8

/** Checks the options. Throws ERR_ARGUMENT, which names an option as `named` does. */
export function parsePlanOptions(
  options: PlanOptions,
  named: Naming<PlanOptions> = option => option,
): Task {
  parseOptions(options, NAMES, 'options', "{ bandwidth: '10Gbit/s', downtime: '300ms' }")
  const { bandwidth, downtime, profile, deviceState, bandwidthPerVm } = options
  const single = (rate: Rate, as: 'bandwidth' | 'bandwidthPerVm'): Wanted =>
    parseMigrationOptions({ bandwidth: rate, downtime, profile, deviceState }, option =>
      named(option === 'bandwidth' ? as : (option as keyof PlanOptions)),
    )
  const link = single(bandwidth, 'bandwidth')
  const most =
    bandwidthPerVm === undefined
      ? link.bytesPerSecond
      : single(bandwidthPerVm, 'bandwidthPerVm').bytesPerSecond
  const methods = methodsOf(options.methods ?? ['live'], link, named('methods'))
  return {
    wanted: { ...link, bytesPerSecond: Math.min(most, link.bytesPerSecond) },
    linkBytesPerSecond: link.bytesPerSecond,
    methods,
    mostDowntime: mostDowntimeOf(options, methods, link, named),
    parallel: parseCount(options.parallel ?? PARALLEL, named('parallel'), 1, MOST_PARALLEL),
    overhead: secondsOf(options.overhead ?? 0, named('overhead'), 0),
    channels: parseCount(options.channels ?? CHANNELS, named('channels'), 1, MOST_CHANNELS),
  }
}

function methodsOf(given: unknown, { profile }: Wanted, name: string): PlanMethod[] {
  const methods = arrayOf<unknown>(given, name, 1, planMethods.length).map(method =>
    parseChoice(method, name, planMethods),
  )
  const twice = methods.find((method, at) => methods.indexOf(method) !== at)
  if (twice !== undefined)
    throw argumentError(`${name}: ${show(twice)} is there twice`, 'Give each method once.')
  const foreign = methods.find(method => !canBy(profile, method))
  if (foreign !== undefined) {
    throw argumentError(
      `${name}: the profile ${profile.name} has no ${foreign}`,
      'Leave the method out, or take a profile of a newer QEMU.',
    )
  }
  return methods
}

function mostDowntimeOf(
  { mostDowntime }: PlanOptions,
  methods: readonly PlanMethod[],
  { downtime }: Wanted,
  named: Naming<PlanOptions>,
): number {
  const name = named('mostDowntime')
  if (methods.includes('more-downtime') !== (mostDowntime !== undefined)) {
    throw mostDowntime === undefined
      ? argumentError(
          `${name}: it is missing`,
          'The method more-downtime needs the longest downtime that is allowed.',
        )
      : argumentError(
          `${name}: it is for the method more-downtime only`,
          `Leave it out, or add more-downtime to ${named('methods')}.`,
        )
  }
  if (mostDowntime === undefined) return downtime
  const seconds = secondsOf(mostDowntime, name, 0.001)
  if (seconds < downtime) {
    throw argumentError(
      `${name}: ${show(mostDowntime)} is shorter than ${named('downtime')}`,
      'Give a longer one.',
    )
  }
  return seconds
}
