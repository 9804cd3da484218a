/**
 * `dirtyrate audit TARGET`: why the dirty rate during a migration differs from the one that was
 * measured before it. One VM is measured by sampling as libvirt does it, by more samples, exactly,
 * in a window as short as the downtime, and while another process reads its memory as a migration
 * does.
 */

import { parseCountText } from '../ground/arguments.js'
import { argumentError, DirtyRateError, hasCode } from '../ground/errors.js'
import { hostProcess } from '../ground/host-process.js'
import { parseRate } from '../ground/units.js'
import { listVms } from '../host/vm-list.js'
import { parseMode } from '../measurement/mode.js'
import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import { DEFAULT_SAMPLES, MOST_SAMPLES } from '../qapi/limits.js'
import type { Mode } from '../results/mode.js'
import { openTarget } from '../targets/open.js'
import type { Target } from '../targets/target.js'
import { capabilities } from '../targets/vm/capabilities.js'
import {
  type AuditedLook,
  factorsOf,
  type Look,
  looksOf,
  type Plan,
  slowReaderWarnings,
  type Taken,
} from './audit/looks.js'
import {
  type AddressRange,
  MemoryReader,
  type ReaderTask,
  readMemory,
  speedBetween,
} from './audit/memory-reader.js'
import { auditTable, explainAudit, rowOf } from './audit/text.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { median } from './median.js'
import { during } from './progress.js'
import { ratesOf } from './rate-unit.js'
import { vmOf } from './same-vm.js'
import type { Session } from './session.js'
import { parseModeOptions, withTarget } from './target.js'
import { parseWait, type WaitOptions, waitBefore } from './wait.js'

export interface AuditOptions extends WaitOptions {
  mode: string
  force: boolean
  window: string
  downtime: string
  bandwidth: string
  rounds: string
  unit?: string
}

export async function runAudit(
  session: Session,
  uri: string,
  options: AuditOptions,
): Promise<number> {
  const windowMs = parseWindow(options.window, '--window')
  const shortMs = parseWindow(options.downtime, '--downtime')
  if (shortMs > windowMs) {
    throw argumentError(
      '--downtime: it is longer than --window',
      'A rate is measured in a long window, and a migration ends with a short one.',
    )
  }
  const bytesPerSecond = parseRate(options.bandwidth, '--bandwidth')
  const rounds = parseCountText(options.rounds, '--rounds', 1, MOST_ROUNDS)
  const mode = parseMode(options.mode, '--mode')
  const rates = ratesOf(options.unit, session.options.json ? '--json' : undefined)
  const wait = parseWait(options)
  const opening = {
    mode: parseModeOptions({ mode, force: options.force }, [uri]),
    force: options.force,
  }
  return withTarget(session, uri, opening, async target => {
    await waitBefore(session, target, wait)
    const plan: Plan = {
      reference: await referenceOf(target, mode),
      fewSamples: DEFAULT_SAMPLES,
      manySamples: MOST_SAMPLES,
      windowMs,
      shortMs,
    }
    const task = await readerTask(target, bytesPerSecond)
    const looks = await take(session, target, { looks: looksOf(plan), rounds, task })
    const factors = factorsOf(looks, plan)
    const table = auditTable(session)
    for (const look of looks)
      for (const line of table.row(rowOf(look, rates), session.columns)) session.print(line)
    const warnings = slowReaderWarnings(looks, bytesPerSecond)
    explainAudit(session, { looks, factors, plan, bytesPerSecond, warnings })
    session.document({
      target: target.uri,
      linkBytesPerSecond: bytesPerSecond,
      rounds,
      looks: looks.map(documented),
      factors,
      warnings,
    })
    return looks.every(look => 'refused' in look || look.complete) ? EXIT_OK : EXIT_FAILED
  })
}

const MOST_ROUNDS = 1000

/** The rate of a document is the median of its rounds. */
function documented(look: AuditedLook): object {
  if ('refused' in look) return look
  const { bytesPerSecond, ...rest } = look
  return { ...rest, bytesPerSecond: median(bytesPerSecond), ofRounds: bytesPerSecond }
}

/**
 * What the other looks are compared with: the exact mode that was named, or that the VM was made
 * with; otherwise the most samples that QEMU takes too. The exact modes of a VM that others have
 * made cost its guest something, so they are used only if they are named.
 */
async function referenceOf(target: Target, wanted: Mode | 'auto'): Promise<Plan['reference']> {
  const sampling = { mode: 'page-sampling', samplesPerGiB: MOST_SAMPLES } as const
  if (wanted === 'page-sampling') return sampling
  if (wanted !== 'auto') return { mode: wanted }
  if (target.control?.isOwn !== true) return sampling
  const { modes } = await target.describe()
  const exact = modes.find(({ exact, refused }) => exact && refused === undefined)
  return exact === undefined ? sampling : { mode: exact.mode }
}

/** What a reader has to read, or why nobody can read it. */
type Readable = ReaderTask | { readonly refused: string }

/** Finds the memory of the target in the process that runs it. */
async function readerTask(target: Target, bytesPerSecond: number): Promise<Readable> {
  const { pageSize } = capabilities()
  const found = await processMemory(target)
  return 'refused' in found ? found : { ...found, bytesPerSecond, pageSize }
}

async function processMemory(
  target: Target,
): Promise<{ pid: number; ranges: AddressRange[] } | { refused: string }> {
  const pid = await processRunning(target)
  if (pid === undefined) return { refused: 'no process of this host is known to run the VM' }
  try {
    // Looked at as a process, the target says where its guest's memory is.
    const process = await openTarget(`pid:${pid}`)
    try {
      const ranges = process.guestMemory?.ranges ?? []
      return { pid, ranges: ranges.map(({ addresses }) => rangeOf(addresses)) }
    } finally {
      await process.close()
    }
  } catch (error) {
    if (!(error instanceof DirtyRateError)) throw error
    return { refused: error.message }
  }
}

/** The process that runs the target. */
async function processRunning(target: Target): Promise<number | undefined> {
  if (target.control?.isOwn === true) return hostProcess.pid
  if (target.processId !== undefined) return target.processId
  const { vms } = await listVms()
  const key = vmOf(target.uri, vms)
  return vms.find(vm => `pid:${vm.pid}` === key)?.pid
}

interface Course {
  readonly looks: readonly Look[]
  readonly rounds: number
  readonly task: Readable
}

/**
 * Takes each look once in each round, so that a guest which changes slowly changes all of them
 * alike.
 */
async function take(
  session: Session,
  target: Target,
  { looks, rounds, task }: Course,
): Promise<AuditedLook[]> {
  const measured = looks.map((): TakenOnce[] => [])
  const refused = looks.map((): string | undefined => undefined)
  for (let round = 0; round < rounds; round++) {
    for (const [at, look] of looks.entries()) {
      if (refused[at] !== undefined) continue
      const of = `${at + 1 + round * looks.length} of ${rounds * looks.length}`
      session.progress(`measuring, ${of}`)
      try {
        const text = `measuring by ${look.mode} in ${look.windowMs} ms, ${of}`
        measured[at]?.push(
          await during(session, text, look.windowMs, () => takeOne(session, target, look, task)),
        )
      } catch (error) {
        // A kind of target may not have such windows, or such samples. Other failures are failures.
        if (!isRefusal(error) || at === 0) throw error
        refused[at] = error.message
      }
    }
  }
  return looks.map((look, at) => {
    const why = refused[at]
    return why === undefined ? taken(look, measured[at] ?? []) : { ...look, refused: why }
  })
}

const isRefusal = (error: unknown): error is DirtyRateError =>
  error instanceof DirtyRateError &&
  (['ERR_ARGUMENT', 'ERR_TARGET_PERMISSION', 'ERR_TARGET_ABSENT'] as const).some(code =>
    hasCode(error, code),
  )

/** One measurement of a look, and how fast the memory was read meanwhile. */
interface TakenOnce {
  readonly measurement: DirtyRateMeasurement
  readonly readBytesPerSecond?: number
}

async function takeOne(
  session: Session,
  target: Target,
  { mode, samplesPerGiB, windowMs, read }: Look,
  task: Readable,
): Promise<TakenOnce> {
  const { signal } = session
  const samples = samplesPerGiB === undefined ? {} : { samplePages: samplesPerGiB }
  const options = { mode, window: windowMs, signal, ...samples }
  if (!read) return { measurement: await target.measureDirtyRate(options) }
  if ('refused' in task) throw new DirtyRateError('ERR_TARGET_ABSENT', task.refused)
  const reader = await MemoryReader.start(task, signal)
  try {
    const before = reader.read
    const measurement = await target.measureDirtyRate(options)
    return { measurement, readBytesPerSecond: speedBetween(before, reader.read) }
  } finally {
    await reader.stop()
  }
}

function taken(look: Look, rounds: readonly TakenOnce[]): Taken {
  const measurements = rounds.map(({ measurement }) => measurement)
  const speeds = rounds.flatMap(({ readBytesPerSecond }) => readBytesPerSecond ?? [])
  const bytesPerSecond = measurements.map(({ bytesPerSecond }) => bytesPerSecond)
  const middle = median(bytesPerSecond)
  const distance = ({ bytesPerSecond }: DirtyRateMeasurement): number =>
    Math.abs(bytesPerSecond - middle)
  const typical = measurements.reduce((best, one) => (distance(one) < distance(best) ? one : best))
  return {
    ...look,
    bytesPerSecond,
    interval: typical.interval,
    complete: measurements.every(({ complete }) => complete),
    ...(speeds.length === 0 ? {} : { readBytesPerSecond: median(speeds) }),
  }
}

/** The hidden command `read-memory`: reads until its standard input ends. */
export async function runReadMemory(session: Session, task: string): Promise<number> {
  let isOver = false
  hostProcess.stdin.once('end', () => {
    isOver = true
  })
  hostProcess.stdin.once('error', () => {
    isOver = true
  })
  hostProcess.stdin.resume()
  try {
    await readMemory(
      JSON.parse(task) as ReaderTask,
      ({ bytes, passes, ms }) => session.print(`${bytes} ${passes} ${ms.toFixed(3)}`),
      () => isOver || session.signal.aborted,
    )
  } finally {
    hostProcess.stdin.destroy()
  }
  return EXIT_OK
}

/** `7f00-7f80`, as a target's description has it. */
function rangeOf(addresses: string): AddressRange {
  const [start = 0, end = 0] = addresses.split('-').map(part => Number.parseInt(part, 16))
  return { start, end }
}
