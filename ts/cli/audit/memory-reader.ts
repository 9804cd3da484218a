/**
 * A process that reads all of a guest's memory at the speed of a link, again and again, as the
 * source of a live migration does. It runs the hidden command `read-memory`, and `audit` starts it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { DirtyRateError } from '../../ground/errors.js'
import { hostProcess } from '../../ground/host-process.js'
import { startLimit } from '../../ground/start-limits.js'

/** A range of addresses in the process that has the memory. */
export interface AddressRange {
  readonly start: number
  readonly end: number
}

/** What the reader has read so far. */
export interface ReadSoFar {
  readonly bytes: number
  /** How often it has come to the end of the memory. */
  readonly passes: number
  /** How long it has read, by its own clock. */
  readonly ms: number
}

/** How fast a reader was between two reports; 0 if it has reported nothing new. */
export function speedBetween(from: ReadSoFar, to: ReadSoFar): number {
  const ms = to.ms - from.ms
  return ms > 0 ? ((to.bytes - from.bytes) * 1000) / ms : 0
}

/** The size of a page's entry: Documentation/admin-guide/mm/pagemap.rst of Linux. */
const PAGEMAP_ENTRY = 8
/**
 * Bit 63 of an entry says that the page is present. Its last byte is looked at, because numbers of
 * 64 bits are slow, and the reader has to keep up with a fast link.
 */
const PRESENT_BYTE = 7
const PRESENT = 0x80
/** How much is read in one call, so that the link's speed is kept evenly. */
const PIECE = 1 << 20
/** How often the speed is looked at. */
const SLICE_MS = 5
/** How often a reader that falls behind reports how far it is. */
const REPORT_MS = 20
/** How long the reader may take to begin. */
const START_MS = 10_000

/** A reader that runs. */
export class MemoryReader {
  readonly #child: ChildProcess
  #last: ReadSoFar = { bytes: 0, passes: 0, ms: 0 }

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /**
   * Starts to read the memory of process `pid`. Resolves when the first piece is read. Throws
   * ERR_TARGET_PERMISSION if this user may not read it.
   */
  static async start(task: ReaderTask, signal: AbortSignal): Promise<MemoryReader> {
    const program = hostProcess.argv[1]
    if (program === undefined)
      throw new DirtyRateError('ERR_UNSUPPORTED', 'the command does not know its own program')
    const child = spawn(hostProcess.execPath, [program, 'read-memory', JSON.stringify(task)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      signal,
    })
    const reader = new MemoryReader(child)
    try {
      await reader.#begun(signal)
      return reader
    } catch (error) {
      await reader.stop()
      signal.throwIfAborted()
      throw error
    }
  }

  /** What was read up to now, as the reader last said. */
  get read(): ReadSoFar {
    return this.#last
  }

  async stop(): Promise<void> {
    const { exitCode, signalCode, pid } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  async #begun(signal: AbortSignal): Promise<void> {
    let complaint = ''
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = `${complaint}${text}`.slice(-500)
    })
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(START_MS)])
    await new Promise<void>((resolve, reject) => {
      const refuse = (why: string): void =>
        reject(
          new DirtyRateError('ERR_TARGET_PERMISSION', `the memory cannot be read: ${why}`, {
            hint: 'dirtyrate doctor names the right that is missing.',
          }),
        )
      this.#child.once('error', error => {
        const limit = startLimit('the reader of the memory', error)
        if (limit === undefined) refuse(error.message)
        else reject(limit)
      })
      this.#child.once('exit', () => refuse(complaint.trim() || 'its reader has ended'))
      deadline.addEventListener('abort', () => refuse('its reader does not begin'), { once: true })
      let rest = ''
      this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n')
        rest = lines.pop() ?? ''
        const last = lines.at(-1)
        if (last === undefined) return
        const [bytes = 0, passes = 0, ms = 0] = last.split(' ').map(Number)
        this.#last = { bytes, passes, ms }
        resolve()
      })
    })
  }
}

/** What a reader is asked to do. */
export interface ReaderTask {
  readonly pid: number
  readonly ranges: readonly AddressRange[]
  readonly bytesPerSecond: number
  readonly pageSize: number
}

/**
 * Reads the memory until `ended()`. This is what the reader's process does. It calls `report`
 * whenever it is ahead of the link, and at least every 20 ms, so that the speed of a reader that
 * falls behind is known too.
 */
export async function readMemory(
  { pid, ranges, bytesPerSecond, pageSize }: ReaderTask,
  report: (read: ReadSoFar) => void,
  ended: () => boolean,
): Promise<void> {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
  try {
    const buffer = Buffer.alloc(PIECE)
    const begun = performance.now()
    let bytes = 0
    let passes = 0
    let reportedMs = 0
    const now = (): number => performance.now() - begun
    const due = (): number => (now() / 1000) * bytesPerSecond
    const say = (): void => {
      reportedMs = now()
      report({ bytes, passes, ms: reportedMs })
    }
    while (!ended()) {
      const before = bytes
      for (const { start, end } of ranges) {
        for (let at = start; at < end && !ended(); at += PIECE) {
          const upTo = Math.min(at + PIECE, end)
          for (const run of presentRuns(pagemap, at, upTo, pageSize))
            bytes += readSync(memory, buffer, 0, run.end - run.start, run.start)
          if (bytes > due()) {
            say()
            while (bytes > due() && !ended()) await sleep(SLICE_MS)
          } else if (now() - reportedMs >= REPORT_MS) say()
        }
      }
      passes++
      say()
      // Memory of which no page is present is read at once.
      if (bytes === before) await sleep(SLICE_MS)
    }
  } finally {
    closeSync(memory)
    closeSync(pagemap)
  }
}

/** The parts of `from..to` whose pages are present, so that nothing is mapped by being read. */
function presentRuns(pagemap: number, from: number, to: number, pageSize: number): AddressRange[] {
  const pages = (to - from) / pageSize
  const entries = Buffer.alloc(pages * PAGEMAP_ENTRY)
  const got = readSync(pagemap, entries, 0, entries.length, (from / pageSize) * PAGEMAP_ENTRY)
  const runs: { start: number; end: number }[] = []
  for (let page = 0; page < got / PAGEMAP_ENTRY; page++) {
    const byte = entries[page * PAGEMAP_ENTRY + PRESENT_BYTE] ?? 0
    if ((byte & PRESENT) === 0) continue
    const start = from + page * pageSize
    const last = runs.at(-1)
    if (last !== undefined && last.end === start) last.end += pageSize
    else runs.push({ start, end: start + pageSize })
  }
  return runs
}
