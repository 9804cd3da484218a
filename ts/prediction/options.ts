/** The options of a prediction, checked, and the scenarios that they allow. */

import { type OptionNames, parseOptions, show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import {
  type Duration,
  parseDuration,
  parseRate,
  parseSize,
  type Rate,
  type Size,
} from '../ground/units.js'
import { MOST_BYTES } from './curve-input.js'
import { type MigrationProfile, parseProfile } from './profiles.js'

/** What a prediction of a migration has to know besides the curve. */
export interface MigrationOptions {
  /** What the link carries, or what the VMM is limited to: `'10Gbit/s'`, `'250MB/s'`. */
  bandwidth: Rate
  /** How long the guest may stand still; `'unlimited'` stops it before the first pass. */
  downtime: Duration
  /** The VMM, by its name, or a profile of your own. Default: `'qemu'`. */
  profile?: string | Partial<MigrationProfile> | undefined
  /** How long the state of the devices takes while the guest stands still. Default: 0. */
  deviceState?: Duration | undefined
  /** The memory of the VM, if the curve does not know it. */
  memory?: Size | undefined
  /**
   * What the link carries while the guest stands still, if it is more than `bandwidth`. QEMU does
   * not limit this step. Default: `bandwidth`.
   */
  linkBandwidth?: Rate | undefined
  /** QEMU's avail-switchover-bandwidth: what it assumes for the last step. Default: `bandwidth`. */
  switchoverBandwidth?: Rate | undefined
  /** How fast each vCPU dirties memory now, in bytes per second: for the dirty limit of each. */
  vcpus?: readonly { readonly id: number; readonly bytesPerSecond: number }[] | undefined
}

const NAMES: OptionNames<MigrationOptions> = {
  bandwidth: true,
  downtime: true,
  profile: true,
  deviceState: true,
  memory: true,
  linkBandwidth: true,
  switchoverBandwidth: true,
  vcpus: true,
}

/** Options in bytes and seconds. */
export interface Wanted {
  readonly profile: MigrationProfile
  readonly bytesPerSecond: number
  /** Infinity if it is not limited. */
  readonly downtime: number
  readonly deviceState: number
  readonly memoryBytes?: number
  readonly linkBytesPerSecond?: number
  readonly switchoverBytesPerSecond?: number
  readonly vcpus: readonly { readonly id: number; readonly bytesPerSecond: number }[]
}

/** The word for a downtime without a limit. */
export const UNLIMITED = 'unlimited'
/** QEMU's own limit is 2000 s; nobody waits longer than a day. */
export const LONGEST_MS = 86_400_000
const SLOWEST = 1
const MOST_VCPUS = 8192

/** How a caller names an option, so that an error names it in the same way. */
export type Naming<T> = (option: keyof T & string) => string

/** Checks the options. Throws ERR_ARGUMENT, which names an option as `named` does. */
export function parseMigrationOptions(
  options: MigrationOptions,
  named: Naming<MigrationOptions> = option => option,
): Wanted {
  parseOptions(options, NAMES, 'options', "{ bandwidth: '10Gbit/s', downtime: '300ms' }")
  const profile = parseProfile(options.profile ?? 'qemu', named('profile'))
  const { memory, linkBandwidth, switchoverBandwidth } = options
  if (switchoverBandwidth !== undefined && !profile.switchoverBandwidth) {
    throw argumentError(
      `${named('switchoverBandwidth')}: the profile ${profile.name} has no such setting`,
      'Leave it out, or take the profile of QEMU 8.2 or newer.',
    )
  }
  const rate = (value: Rate, option: keyof MigrationOptions): number =>
    rateOf(value, named(option), profile)
  const bytesPerSecond = rate(options.bandwidth, 'bandwidth')
  if (linkBandwidth !== undefined && rate(linkBandwidth, 'linkBandwidth') < bytesPerSecond) {
    throw argumentError(
      `${named('linkBandwidth')}: ${show(linkBandwidth)} is less than ${named('bandwidth')}`,
      `Give what the link itself carries, or leave it out if ${named('bandwidth')} is the link.`,
    )
  }
  return {
    profile,
    bytesPerSecond,
    downtime: downtimeOf(options.downtime, named('downtime')),
    deviceState: secondsOf(options.deviceState ?? 0, named('deviceState'), 0),
    vcpus: vcpusOf(options.vcpus ?? []),
    ...(memory === undefined ? {} : { memoryBytes: memoryOf(memory, named('memory')) }),
    ...(linkBandwidth === undefined
      ? {}
      : { linkBytesPerSecond: rate(linkBandwidth, 'linkBandwidth') }),
    ...(switchoverBandwidth === undefined
      ? {}
      : { switchoverBytesPerSecond: rate(switchoverBandwidth, 'switchoverBandwidth') }),
  }
}

/** A duration in seconds from `leastMs` to a day. */
export function secondsOf(value: Duration, name: string, leastMs: number): number {
  const isIn = (ms: number): boolean => ms >= leastMs && ms <= LONGEST_MS
  const ms = parseDuration(value, name, isIn)
  if (!isIn(ms)) {
    throw argumentError(
      `${name}: ${show(value)} is out of range`,
      `Give ${leastMs === 0 ? 'at most' : `${leastMs} ms to`} 24h.`,
    )
  }
  return ms / 1000
}

function downtimeOf(value: Duration, name: string): number {
  if (value === UNLIMITED || value === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
  return secondsOf(value, name, 0.001)
}

/** How much larger a unit of bits is, if it is a power of two. */
const BINARY: Readonly<Record<string, number>> = {
  kbit: 1.024,
  Mbit: 1.024 ** 2,
  Gbit: 1.024 ** 3,
  Tbit: 1.024 ** 4,
}

/** A bandwidth in bytes per second, in the units of the profile. */
function rateOf(value: Rate, name: string, { binaryBits }: MigrationProfile): number {
  const rate = parseRate(value, name)
  const unit = typeof value === 'string' ? /([kMGT]bit)\/s$/.exec(value.trim())?.[1] : undefined
  const bytes = binaryBits && unit !== undefined ? rate * (BINARY[unit] ?? 1) : rate
  return fastEnough(bytes, value, name)
}

/** `bytesPerSecond`, which was given as `value`, unless it is too slow. */
export function fastEnough(bytesPerSecond: number, value: Rate, name: string): number {
  if (bytesPerSecond >= SLOWEST) return bytesPerSecond
  throw argumentError(`${name}: ${show(value)} is too slow`, 'Give at least 1 byte per second.')
}

/** The memory of a VM in bytes. */
export function memoryOf(value: Size, name: string): number {
  const bytes = parseSize(value, name)
  if (bytes < 1 || bytes > MOST_BYTES) {
    throw argumentError(`${name}: ${show(value)} is out of range`, 'Give a size up to 1024TiB.')
  }
  return bytes
}

function vcpusOf(vcpus: NonNullable<MigrationOptions['vcpus']>): Wanted['vcpus'] {
  if (!Array.isArray(vcpus) || vcpus.length > MOST_VCPUS)
    throw argumentError('vcpus: it is not a list of at most 8192 vCPUs')
  const seen = new Set<number>()
  // Holes become undefined, which no check passes over.
  return Array.from(vcpus, (vcpu, at) => {
    const { id, bytesPerSecond } = Object(vcpu) as { id?: number; bytesPerSecond?: number }
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0)
      throw argumentError(`vcpus[${at}].id: ${show(id)} is not the number of a vCPU`)
    if (seen.has(id)) throw argumentError(`vcpus[${at}].id: vCPU ${id} is there twice`)
    seen.add(id)
    if (typeof bytesPerSecond !== 'number' || !(bytesPerSecond >= 0 && bytesPerSecond < 2 ** 60))
      throw argumentError(`vcpus[${at}].bytesPerSecond: ${show(bytesPerSecond)} is not a rate`)
    return { id, bytesPerSecond }
  })
}
