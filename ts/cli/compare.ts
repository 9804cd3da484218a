/**
 * `dirtyrate compare`: the same guest here and in a QEMU, measured by both tools in each of
 * their modes, with the truth beside each figure and with what each measurement took.
 */

import { rm, writeFile } from 'node:fs/promises'
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { parseCountText } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { callNative, type NativeGuestProgram } from '../ground/native.js'
import { parseSize } from '../ground/units.js'
import { parseWindow } from '../measurement/windows.js'
import { FEWEST_SAMPLES, LONGEST_MS, MOST_SAMPLES, SHORTEST_MS } from '../qapi/limits.js'
import type { Mode } from '../results/mode.js'
import { capabilities } from '../targets/vm/capabilities.js'
import { DEFAULT_RING_ENTRIES } from '../targets/vm/schemes.js'
import { guestProgram, keepingItsRate } from '../targets/vm/workload.js'
import { type Observed, observe, untilAtWork } from './compare/observed.js'
import { type Machine, OWN_TOOL, startOwn } from './compare/own-peer.js'
import type { Peer } from './compare/peer.js'
import { startQemu } from './compare/qemu-peer.js'
import { scratchFolder } from './compare/scratch.js'
import {
  compareTable,
  explainComparison,
  introduceComparison,
  type Refused,
  rowOf,
} from './compare/text.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { type GuestOptions, guestOf } from './guest.js'
import { during } from './progress.js'
import { qemuMachine } from './qemu-machine.js'
import { ratesOf } from './rate-unit.js'
import type { Session } from './session.js'

export interface CompareOptions extends GuestOptions {
  window: string
  rounds: string
  samplePages: string
  qemu?: string
  unit?: string
}

/** What QEMU's ring does where KVM emulates guests; measured with QEMU 10.0.2. */
const RING_STOPS_GUEST =
  'KVM emulates its guests here, and the dirty ring of QEMU then stops the guest for good'

export async function runCompare(session: Session, options: CompareOptions): Promise<number> {
  if (options.qemu === '')
    throw argumentError('--qemu: it is empty', 'Give the program of a QEMU, or leave it out.')
  const guest = keepingItsRate(guestOf(options))
  const memoryBytes = parseSize(options.memory, '--memory')
  const vcpus = parseCountText(options.vcpus, '--vcpus', 1)
  const windowMs = parseWindow(options.window, '--window')
  if (windowMs < SHORTEST_MS || windowMs > LONGEST_MS) {
    throw argumentError(
      `--window: QEMU measures ${SHORTEST_MS} ms to ${LONGEST_MS} ms, and not ${windowMs} ms`,
      'Give a window that both tools can measure, such as 200ms.',
    )
  }
  const rounds = parseCountText(options.rounds, '--rounds', 1)
  const samplePages = parseCountText(
    options.samplePages,
    '--sample-pages',
    FEWEST_SAMPLES,
    MOST_SAMPLES,
  )
  const rates = ratesOf(options.unit, session.options.json ? '--json' : undefined)
  const found = capabilities()
  const { signal } = session
  const plain = named(qemuMachine(memoryBytes), options.qemu)
  const ringEntries = Math.min(DEFAULT_RING_ENTRIES, found.dirtyRingEntries)
  const program = guestProgram(guest, { memory: plain.memory, vcpus })
  const folder = await scratchFolder()
  const results: (Observed | Refused)[] = []
  try {
    const kernel = join(folder, 'guest.elf')
    await writeFile(
      kernel,
      callNative(() => program.elf()),
    )
    const machine: Machine = { memory: plain.memory, vcpus, samplePages, signal }
    const writes = guest.kind !== 'idle'
    const table = compareTable(session)
    const show = (result: Observed | Refused): void => {
      if (results.length === 0) introduceComparison(session, guest, memoryBytes, vcpus, rates)
      results.push(result)
      for (const line of table.row(rowOf(session, result, rates), session.columns))
        session.print(line)
    }
    const each = async (start: () => Promise<Peer>, modes: readonly Mode[]): Promise<void> => {
      await observed(start, modes, { session, program, writes, windowMs, rounds }, show)
    }
    // QEMU first: if it is not there, nobody waits for half of the comparison.
    await each(
      () => startQemu(plain, kernel, machine, memoryBytes),
      ['dirty-bitmap', 'page-sampling'],
    )
    if (found.dirtyRingEntries > 0) {
      const qemu = results[0]?.tool ?? { name: 'QEMU', version: '' }
      const ring = named(qemuMachine(memoryBytes, `,dirty-ring-size=${ringEntries}`), options.qemu)
      if (found.emulated === true)
        show({ tool: qemu, mode: 'dirty-ring', refused: RING_STOPS_GUEST })
      else await each(() => startQemu(ring, kernel, machine, memoryBytes), ['dirty-ring'])
    }
    await each(() => startOwn(guest, machine, 'bitmap'), ['dirty-bitmap', 'page-sampling'])
    if (found.dirtyRingEntries > 0)
      await each(() => startOwn(guest, machine, { ringEntries }), ['dirty-ring'])
  } catch (error) {
    // The signal's own reason, and not that of the wait, or of the connection, which it has ended.
    signal.throwIfAborted()
    throw error
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const refused = results.filter((result): result is Refused => 'refused' in result)
  explainComparison(session, refused, { windowMs, rounds })
  session.document({
    host: { cpu: cpus()[0]?.model ?? 'unknown', kernel: release(), arch: found.arch },
    guest: {
      workload: guest.kind,
      pages: guest.pages,
      memoryBytes,
      vcpus,
      ...(guest.bytesPerSecond === undefined ? {} : { bytesPerSecond: guest.bytesPerSecond }),
    },
    windowMs,
    samplesPerGiB: samplePages,
    results,
  })
  return ownIsRight(results) ? EXIT_OK : EXIT_FAILED
}

/** A machine of a QEMU program that the user may have named. */
function named<M extends { program: string }>(machine: M, program: string | undefined): M {
  return program === undefined ? machine : { ...machine, program }
}

interface Plan {
  session: Session
  program: NativeGuestProgram
  writes: boolean
  windowMs: number
  rounds: number
}

/** Starts a guest, observes it in each of `modes`, and ends it. */
async function observed(
  start: () => Promise<Peer>,
  modes: readonly Mode[],
  { session, program, writes, windowMs, rounds }: Plan,
  each: (result: Observed) => void,
): Promise<void> {
  const { signal } = session
  const { pageSize } = capabilities()
  session.progress('starting the guest')
  const peer = await start()
  try {
    await untilAtWork(peer, { program, windowMs, signal })
    for (const mode of modes) {
      const text = `${peer.tool.name}: ${mode}`
      // Each round is three windows: before, during and after the measurement.
      each(
        await during(session, text, 3 * windowMs * rounds, () =>
          observe(peer, { program, writes, mode, windowMs, rounds, pageSize, signal }),
        ),
      )
    }
  } finally {
    await peer.close()
  }
}

/** Whether none of our own figures is a lower bound only. */
function ownIsRight(results: readonly (Observed | Refused)[]): boolean {
  return results.every(
    result =>
      'refused' in result ||
      result.tool.name !== OWN_TOOL.name ||
      result.rounds.every(({ complete }) => complete),
  )
}
