/**
 * Runs virsh, the program of libvirt, as a child process without a shell. Each call has a time
 * limit, because libvirt can wait for a busy domain for half a minute.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { clearTimeout, setTimeout } from 'node:timers'
import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import { hostProcess } from '../../ground/host-process.js'
import { startLimit } from '../../ground/start-limits.js'

/** What a call of virsh printed. */
export interface VirshAnswer {
  /** Its exit status; undefined if it was ended because its time was up. */
  readonly status: number | undefined
  readonly stdout: string
  readonly stderr: string
}

export interface VirshOptions {
  /** The connection, such as `qemu:///system`. */
  readonly connect: string
  /** After this time the call is ended. Default: {@link CALL_MS}. */
  readonly timeoutMs?: number
  readonly signal?: Signal
}

/** How long a call may take that has nothing to wait for: about 40 ms are usual. */
export const CALL_MS = 10_000

/** No answer that is asked for here comes near this length. */
const LONGEST_ANSWER = 2 ** 24

/**
 * Runs `virsh ARGS` and resolves with what it printed. Rejects with ERR_PROGRAM_ABSENT if there is
 * no virsh, with ERR_LIMIT, and with the reason of `signal`.
 */
export function virsh(
  args: readonly string[],
  { connect, timeoutMs = CALL_MS, signal }: VirshOptions,
): Promise<VirshAnswer> {
  signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const child = spawnVirsh(args, connect)
    let timedOut = false
    const end = (): void => endNow(child)
    const timer = setTimeout(() => {
      timedOut = true
      end()
    }, timeoutMs)
    const texts = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        texts[name] += text
        if (texts[name].length > LONGEST_ANSWER) end()
      })
    }
    signal?.addEventListener('abort', end, { once: true })
    const settle = (finish: () => void): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      if (signal?.aborted === true) reject(signal.reason)
      else finish()
    }
    child.on('error', error => settle(() => reject(startError(error))))
    child.on('close', status =>
      settle(() => resolve({ status: timedOut ? undefined : (status ?? 1), ...texts })),
    )
  })
}

/** How long a virsh that is interrupted may take to print what it has. */
const END_MS = 2000

/**
 * Starts a virsh that goes on until `end` is called, which interrupts it and resolves with what it
 * printed. A virsh that cannot be started has printed nothing.
 */
export function startVirsh(args: readonly string[], connect: string): { end(): Promise<string> } {
  const child = spawnVirsh(args, connect)
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (more: string) => {
    if (text.length < LONGEST_ANSWER) text += more
  })
  child.stderr?.resume()
  const closed = new Promise<void>(resolve => {
    child.on('error', () => resolve())
    child.on('close', () => resolve())
  })
  return {
    async end() {
      // virsh writes to a pipe only when it ends, and ends in order by this signal.
      child.kill('SIGINT')
      const timer = setTimeout(() => endNow(child), END_MS)
      await closed
      clearTimeout(timer)
      return text
    },
  }
}

/**
 * Ends a virsh at once. It has nothing to clean up, and ignores softer signals while it waits for
 * libvirt. Its pipes are closed too, because a process that it has started may hold them for ever.
 */
function endNow(child: ChildProcess): void {
  child.kill('SIGKILL')
  child.stdout?.destroy()
  child.stderr?.destroy()
}

/** Where the process may open no more files, Node gives the child no pipes. */
function spawnVirsh(args: readonly string[], connect: string): ChildProcess {
  // LC_ALL=C: the texts are compared with those of the source.
  const env = { ...hostProcess.env, LC_ALL: 'C', LANGUAGE: 'C' }
  return spawn('virsh', ['--quiet', '--connect', connect, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

function startError(error: NodeJS.ErrnoException): DirtyRateError {
  const limit = startLimit('virsh', error)
  if (limit !== undefined) return limit
  const why = error.code === 'ENOENT' ? 'it is not installed' : `${error.code ?? error.message}`
  return new DirtyRateError('ERR_PROGRAM_ABSENT', `virsh cannot be started: ${why}`, {
    cause: error,
    details: { program: 'virsh' },
  })
}
