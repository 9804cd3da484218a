/** The guest of a comparison in a QEMU, which measures it by its own commands. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DirtyRateError, isDirtyRateError } from '../../ground/errors.js'
import { startLimit } from '../../ground/start-limits.js'
import type { Method } from '../../measurement/source.js'
import type { DirtyRateInfo } from '../../qapi/types.js'
import { QmpConnection } from '../../qmp/connection.js'
import type { Mode } from '../../results/mode.js'
import { calcArguments, MILLISECONDS } from '../../targets/qemu/calc-arguments.js'
import { figuresOf } from '../../targets/qemu/figures.js'
import { isAtLeast, versionText } from '../../targets/qemu/version.js'
import type { QemuMachine } from '../qemu-machine.js'
import type { Machine } from './own-peer.js'
import type { Figure, Measured, Peer, Tool } from './peer.js'
import { scratchFolder } from './scratch.js'
import { lengthOf, type Reading, surelyWithin } from './truth.js'

const MIB = 2 ** 20
/** How long a QEMU may take until its monitor listens. */
const START_MS = 30_000
/** How often it is asked whether it has begun. */
const POLL_MS = 20
/** How often it is asked whether it has measured, once the window should have ended. */
const MEASURED_POLL_MS = 2
/** How far from the ends of a window the guest's counters are read. */
const DISTANCES_MS = [4, 8, 16, 32, 64]
/** How much longer than its window a measurement may take. */
const GRACE_MS = 60_000
/** How QEMU samples, and the confidence of both tools in a comparison. */
const SAMPLES = { confidence: 0.95, design: 'simple-random', interval: 'wilson' } as const
/** How much of what QEMU complains about is shown. */
const COMPLAINT_LENGTH = 500

/**
 * Starts the guest of the file `kernel` in this QEMU machine. Rejects with ERR_UNSUPPORTED if QEMU
 * does not run.
 */
export async function startQemu(
  { program, args }: QemuMachine,
  kernel: string,
  { vcpus, samplePages, signal }: Machine,
  memoryBytes: number,
): Promise<Peer> {
  const folder = await scratchFolder()
  const path = join(folder, 'qmp')
  const size = ['-m', `${memoryBytes / MIB}M`, '-smp', String(vcpus)]
  const io = ['-nodefaults', '-display', 'none', '-qmp', `unix:${path},server=on,wait=off`]
  const child = spawn(program, [...args, ...size, ...io, '-kernel', kernel], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const close = async (): Promise<void> => {
    child.kill('SIGKILL')
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      await once(child, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const connection = await connected(child, program, path, signal)
    requireMilliseconds(connection, program)
    const threads = (await connection.execute('query-cpus-fast', {}, signal)) as {
      'thread-id': number
    }[]
    return {
      tool: toolOf(connection),
      pid: child.pid ?? 0,
      vcpuThreads: threads.map(vcpu => vcpu['thread-id']),
      mailbox: address => mailbox(connection, address, signal),
      measure: (mode, windowMs, look) =>
        measure(connection, mode, windowMs, { memoryBytes, samplePages, signal, look }),
      close: async () => {
        connection.close()
        await close()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

function toolOf({ version }: QmpConnection): Tool {
  return { name: 'QEMU', version: versionText(version) }
}

/** Throws ERR_UNSUPPORTED for a QEMU that measures whole seconds only. */
function requireMilliseconds(connection: QmpConnection, program: string): void {
  if (isAtLeast(connection.version, 8, 2)) return
  connection.close()
  throw new DirtyRateError(
    'ERR_UNSUPPORTED',
    `${program} is QEMU ${versionText(connection.version)}, which measures whole seconds only`,
    {
      hint: 'Both tools are compared in windows of the same length in milliseconds: name a QEMU 8.2 or later with --qemu. An older one can be measured as a target: qmp:SOCKET.',
    },
  )
}

/** The connection to a QEMU that has just been started. */
async function connected(
  child: ChildProcess,
  program: string,
  path: string,
  signal: AbortSignal,
): Promise<QmpConnection> {
  let complaint = ''
  let failure: NodeJS.ErrnoException | undefined
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-COMPLAINT_LENGTH)
  })
  child.once('error', error => {
    failure = error
  })
  for (const begun = performance.now(); ; await sleep(POLL_MS, undefined, { signal })) {
    if (failure !== undefined)
      throw startLimit(program, failure) ?? notStarted(program, failure.message)
    if (child.exitCode !== null || child.signalCode !== null)
      throw notStarted(program, complaint.trim())
    try {
      return await QmpConnection.open({ path }, { signal })
    } catch (error) {
      // Its monitor does not listen yet.
      if (!isDirtyRateError(error, 'ERR_TARGET_ABSENT')) throw error
      if (performance.now() - begun > START_MS)
        throw notStarted(program, `its monitor did not listen within ${START_MS / 1000} s`)
    }
  }
}

function notStarted(program: string, reason: string): DirtyRateError {
  const isAbsent = /ENOENT|EACCES/.test(reason)
  return new DirtyRateError('ERR_UNSUPPORTED', `${program} does not run: ${reason}`, {
    hint: isAbsent
      ? 'Install QEMU, for example with: apt-get install qemu-system. Or name its program with --qemu.'
      : "The text is QEMU's own: give it a guest that it can run, or another QEMU with --qemu.",
  })
}

/** Reads guest memory through the monitor's command for people: `0000000000105000: 0x… 0x…`. */
async function mailbox(
  connection: QmpConnection,
  address: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const said = await connection.execute(
    'human-monitor-command',
    { 'command-line': `xp /2gx ${address}` },
    signal,
  )
  const words = [...String(said).matchAll(/0x([0-9a-f]{16})/g)].map(([word]) => BigInt(word))
  if (words.length !== 2)
    throw new DirtyRateError('ERR_QMP_PROTOCOL', `QEMU answered ${said} to xp /2gx ${address}`)
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  words.forEach((word, at) => {
    view.setBigUint64(8 * at, word, true)
  })
  return bytes
}

async function measure(
  connection: QmpConnection,
  mode: Mode,
  windowMs: number,
  { memoryBytes, samplePages, signal, look }: Measuring,
): Promise<Measured> {
  const method: Method =
    mode === 'page-sampling'
      ? { mode, samples: { ...SAMPLES, samplesPerGiB: samplePages } }
      : { mode }
  const askedMs = performance.now()
  await connection.execute('calc-dirty-rate', calcArguments(method, windowMs), signal)
  const looks: Reading[] = []
  for (const at of momentsWithin(windowMs)) {
    await untilMs(askedMs + at, signal)
    looks.push(await look())
  }
  await untilMs(askedMs + windowMs, signal)
  for (;;) {
    const info = (await connection.execute(
      'query-dirty-rate',
      MILLISECONDS,
      signal,
    )) as DirtyRateInfo
    if (info.status === 'measured') {
      const knownMs = performance.now()
      const wholeMs = info['calc-time']
      const window = { askedMs, knownMs, requestedMs: windowMs, wholeMs }
      return {
        figure: figureOf(info, method, windowMs, memoryBytes),
        lasted: lengthOf(wholeMs),
        within: surelyWithin(looks, window),
      }
    }
    if (performance.now() - askedMs > windowMs + GRACE_MS) throw overdue(mode)
    await sleep(MEASURED_POLL_MS, undefined, { signal })
  }
}

/**
 * The moments at which the guest's counters are read within a window, in ms from its beginning. The
 * closer to its ends they are, the better the truth is known. But only the time of QEMU's answer
 * shows when the window began and ended at the latest, and therefore which of them lie in it.
 */
function momentsWithin(windowMs: number): number[] {
  const distances = DISTANCES_MS.filter(distance => distance < windowMs)
  const moments = distances.flatMap(distance => [distance, windowMs - distance])
  return [...new Set(moments)].sort((a, b) => a - b)
}

/** Waits for a moment of performance.now(). */
async function untilMs(moment: number, signal: AbortSignal): Promise<void> {
  const ms = moment - performance.now()
  if (ms > 0) await sleep(ms, undefined, { signal })
}

/** What one measurement needs beside its mode and its window. */
interface Measuring {
  readonly memoryBytes: number
  readonly samplePages: number
  readonly signal: AbortSignal
  /** Reads the guest's counters. */
  readonly look: () => Promise<Reading>
}

/** The figures of QEMU's answer, by the rules by which a `qmp:` target reads it. */
function figureOf(
  info: DirtyRateInfo,
  method: Method,
  windowMs: number,
  memoryBytes: number,
): Figure {
  if ((info['dirty-rate'] ?? -1) < 0) {
    throw new DirtyRateError('ERR_STATE', `QEMU gives no rate in mode ${method.mode}`, {
      hint: 'Try again.',
    })
  }
  const { bytesPerSecond, interval, window, complete } = figuresOf(
    info,
    method,
    windowMs,
    memoryBytes,
  )
  return { bytesPerSecond, interval, windowNs: window.ns, complete }
}

function overdue(mode: Mode): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `QEMU still measures in mode ${mode} ${GRACE_MS / 1000} s after the end of the window`,
  )
}
