/**
 * One mode of one tool, observed from outside: what it says, what the guest itself has counted, and
 * what the measuring took.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { DirtyRateError } from '../../ground/errors.js'
import { callNative, type NativeGuestProgram } from '../../ground/native.js'
import type { Mode } from '../../results/mode.js'
import type { Figure, Measured, Peer, Tool } from './peer.js'
import { cpuNs, memoryOf, resetPeak } from './process-use.js'
import {
  errorOf,
  type GuestTruth,
  pagesBetween,
  type RateError,
  type Reading,
  truthOf,
} from './truth.js'

const MS_PER_SECOND = 1000
/** How long a guest may take until all of its vCPUs write. */
const BOOT_MS = 60_000
const POLL_MS = 50
/** A guest that touches less new memory than this within a window has touched what it will. */
const SETTLED_BYTES = 2 ** 20
/** A guest with a large working set touches new memory for long, and is then taken as it is. */
const SETTLE_MS = 20_000

/** One measurement beside the truth. */
export interface ObservedRound extends Figure {
  readonly truth: GuestTruth
  /** How far the rate is off. Null if the guest wrote nothing. */
  readonly error: RateError | null
  /**
   * The share of its writes that the guest did not make because it was measured: 0.1 if it made
   * nine where it makes ten before and after. Null if it makes none.
   */
  readonly slowDown: number | null
}

/** A mode of a tool that was measured. */
export interface Observed {
  readonly tool: Tool
  readonly mode: Mode
  readonly rounds: readonly ObservedRound[]
  /** The CPU time of one measurement, without that of the vCPUs: the mean of all rounds. */
  readonly cpuNs: number
  /** By how much the resident memory of the process grew while it measured. */
  readonly memoryBytes: number
}

/** What is observed, and how. */
export interface Observation {
  readonly program: NativeGuestProgram
  /** Whether the guest writes at all. */
  readonly writes: boolean
  readonly mode: Mode
  readonly windowMs: number
  readonly rounds: number
  readonly pageSize: number
  readonly signal: AbortSignal
}

/**
 * Waits until all vCPUs of the guest have begun, and the guest touches no new memory: that would
 * look as if the tool took it. Rejects with ERR_TARGET_TIMEOUT if the guest does not begin.
 */
export async function untilAtWork(
  peer: Peer,
  { program, windowMs, signal }: Pick<Observation, 'program' | 'windowMs' | 'signal'>,
): Promise<void> {
  await untilBegun(peer, program, signal)
  const begun = performance.now()
  let last = 0
  for (;;) {
    const { bytes } = memoryOf(peer.pid)
    if (bytes - last < SETTLED_BYTES || performance.now() - begun > SETTLE_MS) return
    last = bytes
    await sleep(windowMs, undefined, { signal })
  }
}

async function untilBegun(
  peer: Peer,
  program: NativeGuestProgram,
  signal: AbortSignal,
): Promise<void> {
  for (const begun = performance.now(); ; await sleep(POLL_MS, undefined, { signal })) {
    if ((await countersOf(peer, program)) !== undefined) return
    if (performance.now() - begun > BOOT_MS) {
      throw new DirtyRateError(
        'ERR_TARGET_TIMEOUT',
        `the guest did not begin within ${BOOT_MS / MS_PER_SECOND} s under ${peer.tool.name}`,
      )
    }
  }
}

/** Measures `rounds` times. The guest runs undisturbed before and after each measurement. */
export async function observe(peer: Peer, observation: Observation): Promise<Observed> {
  const { mode, windowMs, signal } = observation
  const rounds: ObservedRound[] = []
  let spentNs = 0
  let memoryBytes = 0
  for (let round = 0; round < observation.rounds; round++) {
    const { bytes } = memoryOf(peer.pid)
    resetPeak(peer.pid)
    const [before, begin] = await undisturbed(peer, observation)
    const idleNs = cpuNs(peer.pid, peer.vcpuThreads)
    const measured = await peer.measure(mode, windowMs, () => read(peer, observation.program))
    spentNs += cpuNs(peer.pid, peer.vcpuThreads) - idleNs
    const end = await read(peer, observation.program)
    memoryBytes = Math.max(memoryBytes, memoryOf(peer.pid).peakBytes - bytes)
    await sleep(windowMs, undefined, { signal })
    const after = await read(peer, observation.program)
    rounds.push(await judged(measured, [before, begin, end, after], observation))
  }
  return { tool: peer.tool, mode, rounds, cpuNs: spentNs / rounds.length, memoryBytes }
}

async function undisturbed(
  peer: Peer,
  { program, windowMs, signal }: Observation,
): Promise<[Reading, Reading]> {
  const before = await read(peer, program)
  await sleep(windowMs, undefined, { signal })
  return [before, await read(peer, program)]
}

async function judged(
  { figure, lasted, counted, within }: Measured,
  [before, begin, end, after]: readonly [Reading, Reading, Reading, Reading],
  { program, writes, pageSize }: Observation,
): Promise<ObservedRound> {
  const written = async () =>
    writes ? pagesBetween(program, [begin, end], within) : { low: 0, high: 0 }
  const truth = truthOf(counted ?? (await written()), pageSize, lasted)
  const usual = (speed(before, begin) + speed(end, after)) / 2
  return {
    ...figure,
    truth,
    error: errorOf(figure.bytesPerSecond, truth),
    slowDown: usual === 0 ? null : 1 - speed(begin, end) / usual,
  }
}

/** Writes of all vCPUs per ms. */
function speed(from: Reading, to: Reading): number {
  const sum = ({ writes }: Reading): number => writes.reduce((all, one) => all + one, 0)
  const at = ({ askedMs, answeredMs }: Reading): number => (askedMs + answeredMs) / 2
  return (sum(to) - sum(from)) / (at(to) - at(from))
}

async function read(peer: Peer, program: NativeGuestProgram): Promise<Reading> {
  const askedMs = performance.now()
  const writes = await countersOf(peer, program)
  if (writes === undefined)
    throw new DirtyRateError('ERR_STATE', `the guest has begun anew under ${peer.tool.name}`)
  return { writes, askedMs, answeredMs: performance.now() }
}

/** The counters of all vCPUs; undefined if one has not begun. */
async function countersOf(
  peer: Peer,
  program: NativeGuestProgram,
): Promise<readonly number[] | undefined> {
  const writes: number[] = []
  for (const address of program.mailboxes) {
    const mailbox = await peer.mailbox(address)
    const counted = callNative(() => program.counted(mailbox))
    if (counted === null || counted === undefined) return undefined
    writes.push(counted)
  }
  return writes
}
