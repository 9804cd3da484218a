/** Runs cases in a process that has the shim preloaded. */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { cProgram } from '../fixtures/c-programs.js'
import { root } from '../fixtures/command.js'
import type { Fault } from './cases.js'

/** The outcome of one VM's life. */
export interface Outcome {
  errors: {
    step: string
    name?: string
    code?: string
    message?: string
    hint?: string
    details?: Record<string, unknown>
  }[]
  results: { pages: number; complete: boolean; truth?: { low: number; high: number } }[]
  closed: boolean
  /** How often the call was made that was to fail, and how many of these calls failed. */
  seen: number
  failed: number
  /** The ioctls that were made. */
  ioctls: number[]
  /** Threads of the VM that are still there. */
  threads: string[]
}

/**
 * A VM's life: its log, what it is measured by, how long its signal waits, and what fails
 * meanwhile.
 */
export interface Life {
  log: 'bitmap' | 'ring'
  mode: 'auto' | 'page-sampling'
  rate?: string
  patienceMs: number
  fault?: Fault
}

/** The measurements of a process of memory.c. */
export interface ProcessLife {
  /** Which memory it has. */
  kind: 'private' | 'shared'
  mode: 'page-sampling' | 'soft-dirty'
  windowMs: number
  fault?: Fault
}

/** What came of it. */
export interface ProcessOutcome {
  errors: Outcome['errors']
  /** `isBusy`: the process made a whole round within the window. */
  results: { pages: number; complete: boolean; isBusy: boolean }[]
  /** Those of KVM; null if they could not be read. */
  statistics?: Record<string, number> | null
  /** How many files are open at the end. */
  descriptors: number
  /** How often the call was made that was to fail, and how many of these calls failed. */
  seen: number
  failed: number
}

/** The shim, compiled, and the file by which it is told what fails. */
export class Shim {
  readonly #folder = mkdtempSync(join(tmpdir(), 'dirtyrate-faults-'))
  readonly #library: string
  #files = 0

  private constructor(library: string) {
    this.#library = library
  }

  static async compiled(): Promise<Shim> {
    return new Shim(await cProgram('shim.so'))
  }

  /** The environment of a process in which `plan` fails from the start. */
  environment(plan?: Fault): Record<string, string> {
    const file = join(this.#folder, `plan-${this.#files++}`)
    const bytes = Buffer.alloc(4096)
    if (plan !== undefined) {
      bytes.write(plan.call, 0, 'latin1')
      bytes.writeUInt32LE(plan.number ?? 0, 32)
      bytes.writeInt32LE(plan.errno, 36)
      bytes.writeUInt32LE(plan.at, 40)
      bytes.writeUInt32LE(plan.times, 44)
    }
    writeFileSync(file, bytes)
    return { LD_PRELOAD: this.#library, DIRTYRATE_FAULTS: file }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Runs lives in a process; one that hangs or dies is replaced by another. */
export class Lives<OneLife = Life, ItsOutcome = Outcome> {
  readonly #shim: Shim
  readonly #driver: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined
  #lines: Interface | undefined
  #stderr = ''

  /** `driver` is the program of the process, with its arguments. */
  constructor(shim: Shim, driver = 'driver.mjs', args: readonly string[] = []) {
    this.#shim = shim
    this.#driver = driver
    this.#args = args
  }

  /**
   * Runs one; rejects with what became of the process if that hangs (as far as `patience` goes) or
   * dies.
   */
  async run(life: OneLife, patience: number): Promise<ItsOutcome> {
    if (this.#child === undefined) await this.#begin()
    const child = this.#child as ChildProcess
    child.stdin?.write(`${JSON.stringify(life)}\n`)
    const line = await this.#line(patience)
    return JSON.parse(line) as ItsOutcome
  }

  end(): void {
    this.#kill()
  }

  #kill(): void {
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  async #begin(): Promise<void> {
    const driver = fileURLToPath(new URL(this.#driver, import.meta.url))
    this.#stderr = ''
    const child = spawn(process.execPath, [driver, ...this.#args], {
      cwd: root,
      env: { ...process.env, ...this.#shim.environment() },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    child.stderr.setEncoding('utf8').on('data', text => {
      this.#stderr += text
    })
    child.stdin.on('error', () => {})
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })
    await this.#line(30_000)
  }

  #line(patience: number): Promise<string> {
    const [child, lines] = [this.#child as ChildProcess, this.#lines as Interface]
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer)
        lines.off('line', onLine)
        child.off('exit', onExit)
      }
      const onLine = (line: string): void => {
        settle()
        resolve(line)
      }
      const onExit = (status: number | null, signal: string | null): void => {
        settle()
        this.#child = undefined
        reject(new Error(`the process ended with ${signal ?? status}: ${this.#stderr}`))
      }
      const timer = setTimeout(() => {
        settle()
        this.#kill()
        reject(new Error(`the process hangs: ${this.#stderr}`))
      }, patience)
      lines.on('line', onLine)
      child.on('exit', onExit)
    })
  }
}

/** The number of a call that no life makes. */
const NEVER = 2 ** 32 - 1

/** Which of the calls that are to fail a life makes. */
export interface Made {
  /** The calls that a life made where nothing failed. */
  readonly calls: readonly string[]
  /**
   * Whether a fault was missed: the first call was to fail, a life makes this call, and none has
   * failed. How many later calls there are depends on the time that a life takes.
   */
  missed(fault: Fault, outcome: { failed: number }): boolean
}

/** Finds out which of the calls in `faults` a life makes where nothing fails. */
export async function callsMade(
  faults: readonly Fault[],
  live: (fault: Fault) => Promise<{ seen: number }>,
): Promise<Made> {
  const nameOf = ({ call, number }: Fault): string => `${call} ${number ?? ''}`.trimEnd()
  const calls: string[] = []
  for (const [name, fault] of new Map(faults.map(one => [nameOf(one), one]))) {
    const { seen } = await live({ ...fault, at: NEVER, times: 1 })
    if (seen > 0) calls.push(name)
  }
  const missed = (fault: Fault, { failed }: { failed: number }): boolean =>
    fault.at === 1 && failed === 0 && calls.includes(nameOf(fault))
  return { calls, missed }
}

/** Runs cases on processes of memory.c. */
export class MemoryLives extends Lives<ProcessLife, ProcessOutcome> {
  readonly #remove: () => void

  private constructor(shim: Shim, args: readonly string[], remove: () => void) {
    super(shim, 'process-driver.mjs', args)
    this.#remove = remove
  }

  /** Processes with so many pages. */
  static async of(pages: number): Promise<MemoryLives> {
    const [shim, program] = [await Shim.compiled(), await cProgram('memory')]
    const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-measured-'))
    return new MemoryLives(shim, [program, folder, String(pages)], () => {
      shim.remove()
      rmSync(folder, { recursive: true, force: true })
    })
  }

  override end(): void {
    super.end()
    this.#remove()
  }
}
