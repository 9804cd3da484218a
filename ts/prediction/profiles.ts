/**
 * What a prediction has to know of a VM's software, as data: a profile for each way of migrating.
 */

import {
  type OptionNames,
  parseChoice,
  parseCount,
  parseFlag,
  parseObject,
  parseOptions,
  parseText,
  show,
} from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { knownNames } from '../ground/suggest.js'
import { arrayOf } from './checks.js'

/** What some VMMs can do for a migration that does not end by itself. */
export const vmmWays = ['dirty-limit', 'auto-converge', 'compression', 'post-copy'] as const

export type VmmWay = (typeof vmmWays)[number]

/** How a VMM copies the memory of a VM that goes on running. */
export interface MigrationProfile {
  readonly name: string
  /**
   * When a page is protected again, so that later writes to it are seen. `pass-start`: all pages
   * when a pass begins. Otherwise in chunks of so many bytes of a RAM block, each of them when the
   * pass comes to its first dirty page. A region of the curve that is larger than a chunk counts as
   * one chunk.
   */
  readonly clearing: 'pass-start' | { readonly chunkBytes: number }
  /**
   * When a pass ends. `drained`: when all of its pages are sent. `threshold`: when what is left of
   * them can be sent within the downtime.
   */
  readonly passEnds: 'drained' | 'threshold'
  /** What the stream has in addition to the contents of a page. */
  readonly headerBytes: number
  /** What the stream has in place of a page of zeros. */
  readonly zeroPageBytes: number
  /** How long the VMM takes to find that a page is zero, in nanoseconds. */
  readonly zeroPageNs: number
  /** How long the VMM sends before it looks again at what is left: the rate limiter's window. */
  readonly limiterMs: number
  /** Whether the VMM itself leaves room in the downtime for the state of the devices. */
  readonly subtractsDeviceState: boolean
  /**
   * Whether the bandwidth that the last step may assume can be set, as QEMU's
   * avail-switchover-bandwidth.
   */
  readonly switchoverBandwidth: boolean
  /** What the VMM can do for a migration that does not end by itself. */
  readonly waysOut: readonly VmmWay[]
  /**
   * `concave`: the points are what noise has left of a concave curve, and have bounds.
   * `as-measured`: straight lines through the points, which count as exact.
   */
  readonly curve: 'concave' | 'as-measured'
  /**
   * Whether `Gbit/s` means 2^30 bits, and `Mbit/s` 2^20 bits, if a bandwidth is given as a text.
   */
  readonly binaryBits: boolean
  /** Times are rounded up to a multiple of this; 0 if they are not rounded. */
  readonly roundsUpToMs: number
}

/**
 * QEMU's `clear_bmap` has one bit for so much of a RAM block, unless `x-clear-bitmap-shift` is set.
 */
const CHUNK_BYTES = 2 ** 30

const QEMU: MigrationProfile = {
  name: 'qemu',
  clearing: { chunkBytes: CHUNK_BYTES },
  passEnds: 'threshold',
  // The address of the page and its flags. A page of zeros has one byte more.
  headerBytes: 8,
  zeroPageBytes: 9,
  // 270 and 350 ns on two hosts: 73 to 95 ms for 1 GiB that the guest has never touched.
  zeroPageNs: 310,
  limiterMs: 100,
  subtractsDeviceState: false,
  switchoverBandwidth: true,
  waysOut: vmmWays,
  curve: 'concave',
  binaryBits: false,
  roundsUpToMs: 0,
}

// Each of these has what the version after it brought taken away: avail-switchover-bandwidth,
// set-vcpu-dirty-limit, zstd in multifd, clearing by chunks, and post-copy.
const QEMU_7_1: MigrationProfile = { ...QEMU, switchoverBandwidth: false }
const QEMU_5_0: MigrationProfile = {
  ...QEMU_7_1,
  waysOut: ['auto-converge', 'compression', 'post-copy'],
}
const QEMU_4_2: MigrationProfile = { ...QEMU_5_0, waysOut: ['auto-converge', 'post-copy'] }
const QEMU_2_6: MigrationProfile = { ...QEMU_4_2, clearing: 'pass-start' }

/** QEMU's rules by version, the newest first: `since` is the first version that has them. */
const QEMU_RULES: readonly {
  readonly since: readonly [number, number]
  profile: MigrationProfile
}[] = [
  { since: [8, 2], profile: QEMU },
  { since: [7, 1], profile: QEMU_7_1 },
  { since: [5, 0], profile: QEMU_5_0 },
  { since: [4, 2], profile: QEMU_4_2 },
  { since: [2, 6], profile: QEMU_2_6 },
  { since: [2, 0], profile: { ...QEMU_2_6, waysOut: ['auto-converge'] } },
]

const PROFILES: readonly MigrationProfile[] = [
  QEMU,
  {
    ...QEMU,
    name: 'cloud-hypervisor',
    // A plain GET of the dirty log protects everything.
    clearing: 'pass-start',
    passEnds: 'drained',
    // Ranges of pages are sent, each with one header.
    headerBytes: 0,
    // Its pages of zeros are sent like others.
    zeroPageBytes: 4096,
    zeroPageNs: 0,
    switchoverBandwidth: false,
    waysOut: [],
  },
  {
    ...QEMU,
    name: 'gudkov-2023',
    clearing: 'pass-start',
    passEnds: 'drained',
    zeroPageBytes: 8,
    zeroPageNs: 0,
    switchoverBandwidth: false,
    curve: 'as-measured',
    binaryBits: true,
    roundsUpToMs: 1000,
  },
]

/** The names of all profiles. `qemu-8.1`, with any version, is one too. */
export const profileNames: readonly string[] = PROFILES.map(({ name }) => name)

const NAMES: OptionNames<MigrationProfile> = {
  name: true,
  clearing: true,
  passEnds: true,
  headerBytes: true,
  zeroPageBytes: true,
  zeroPageNs: true,
  limiterMs: true,
  subtractsDeviceState: true,
  switchoverBandwidth: true,
  waysOut: true,
  curve: true,
  binaryBits: true,
  roundsUpToMs: true,
}

/** Headers are not longer than this. */
const LONGEST_HEADER = 2 ** 20
/** To find that a page is zero takes less than a millisecond, however slow the host is. */
const LONGEST_ZERO_PAGE_NS = 1_000_000
/** No limiter has such a window, and no time is rounded to more. */
const LONGEST_MS = 60_000

/**
 * The profile that `profile` names, or `profile` itself if it is one. What a profile of the caller
 * leaves out is as in the profile `qemu`. Throws ERR_ARGUMENT, which calls it `name`.
 */
export function parseProfile(
  profile: string | Partial<MigrationProfile>,
  name: string = 'profile',
): MigrationProfile {
  if (typeof profile === 'string') return profileNamed(profile, name)
  parseOptions(profile, NAMES, name, "a profile, such as { clearing: 'pass-start' }, or its name")
  const given = Object.entries(profile).filter(([, value]) => value !== undefined)
  const whole: MigrationProfile = { ...QEMU, name: 'own', ...Object.fromEntries(given) }
  const of = (field: keyof MigrationProfile): string => `${name}.${field}`
  return {
    name: parseText(whole.name, of('name')),
    clearing: parseClearing(whole.clearing, of('clearing')),
    passEnds: parseChoice(whole.passEnds, of('passEnds'), ['drained', 'threshold']),
    headerBytes: parseCount(whole.headerBytes, of('headerBytes'), 0, LONGEST_HEADER),
    zeroPageBytes: parseCount(whole.zeroPageBytes, of('zeroPageBytes'), 0, LONGEST_HEADER),
    zeroPageNs: parseCount(whole.zeroPageNs, of('zeroPageNs'), 0, LONGEST_ZERO_PAGE_NS),
    limiterMs: parseCount(whole.limiterMs, of('limiterMs'), 1, LONGEST_MS),
    subtractsDeviceState: parseFlag(whole.subtractsDeviceState, of('subtractsDeviceState')),
    switchoverBandwidth: parseFlag(whole.switchoverBandwidth, of('switchoverBandwidth')),
    waysOut: parseWays(whole.waysOut, of('waysOut')),
    curve: parseChoice(whole.curve, of('curve'), ['concave', 'as-measured']),
    binaryBits: parseFlag(whole.binaryBits, of('binaryBits')),
    roundsUpToMs: parseCount(whole.roundsUpToMs, of('roundsUpToMs'), 0, LONGEST_MS),
  }
}

function profileNamed(text: string, name: string): MigrationProfile {
  const known = PROFILES.find(profile => profile.name === text)
  if (known !== undefined) return known
  const [match, major, minor] = /^qemu-([0-9]{1,3})\.([0-9]{1,3})$/.exec(text) ?? []
  if (match === undefined) {
    throw argumentError(
      `${name}: ${show(text)} is not known`,
      `${knownNames(text, profileNames)} qemu-8.1 is QEMU 8.1.`,
    )
  }
  const version = [Number(major), Number(minor)] as const
  const rules = QEMU_RULES.find(
    ({ since: [a, b] }) => version[0] > a || (version[0] === a && version[1] >= b),
  )
  if (rules === undefined) {
    throw argumentError(
      `${name}: no rules are known for ${text}`,
      'Give qemu-2.0, or a later version.',
    )
  }
  return { ...rules.profile, name: text }
}

function parseWays(given: unknown, name: string): VmmWay[] {
  const ways = arrayOf<unknown>(given, name, 0, vmmWays.length)
  return ways.map(way => parseChoice(way, name, vmmWays))
}

function parseClearing(
  clearing: MigrationProfile['clearing'],
  name: string,
): MigrationProfile['clearing'] {
  if (clearing === 'pass-start') return clearing
  parseObject(clearing as object, name, "'pass-start', or { chunkBytes: 2 ** 30 }")
  return { chunkBytes: parseCount(clearing.chunkBytes, `${name}.chunkBytes`, 4096, 2 ** 50) }
}
