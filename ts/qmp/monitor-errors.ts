/** The errors of a monitor that cannot be reached, or does not speak QMP. */

import { shortened } from '../ground/arguments.js'
import { DirtyRateError, type ErrorCode } from '../ground/errors.js'
import { type Address, type Listener, listenerAt } from '../ground/listener.js'
import { goOn, stateOf, stoppedBy } from '../ground/proc.js'
import { isSocketFile } from '../ground/socket-file.js'

/** What the errors of a socket mean to somebody who wants to reach a VM. */
const SOCKET_ERRORS: Readonly<Record<string, { code: ErrorCode; meaning: string }>> = {
  ENOENT: { code: 'ERR_TARGET_ABSENT', meaning: 'there is no such socket' },
  ENOTSOCK: { code: 'ERR_TARGET_ABSENT', meaning: 'this file is no socket' },
  ECONNREFUSED: {
    code: 'ERR_TARGET_ABSENT',
    meaning: 'nobody listens there; a QEMU that has ended leaves its socket behind',
  },
  // A peer that ends while a client is in its queue.
  ECONNRESET: {
    code: 'ERR_TARGET_GONE',
    meaning: 'the monitor closed the connection before it said anything',
  },
  EMFILE: {
    code: 'ERR_LIMIT',
    meaning: 'this process may open no more files: raise the limit with ulimit -n',
  },
  ENOTFOUND: { code: 'ERR_TARGET_ABSENT', meaning: 'there is no host of this name' },
  EACCES: { code: 'ERR_TARGET_PERMISSION', meaning: 'this user may not connect to it' },
  EPERM: { code: 'ERR_TARGET_PERMISSION', meaning: 'this user may not connect to it' },
  // The queue of those who wait for the monitor is full.
  EAGAIN: { code: 'ERR_QMP_BUSY', meaning: 'too many other clients wait for this monitor' },
}

export function unreachable(where: string, error: Error & { code?: string }): DirtyRateError {
  // Linux refuses a connection to any other file as it does at a socket that nobody serves.
  const isOther = error.code === 'ECONNREFUSED' && where.includes('/') && !isSocketFile(where)
  if (error.code === 'ECONNREFUSED' && !where.includes('/')) {
    // Only a file stays behind.
    return new DirtyRateError('ERR_TARGET_ABSENT', `${where}: nobody listens there`, {
      cause: error,
      details: { path: where },
    })
  }
  const { code, meaning } = SOCKET_ERRORS[isOther ? 'ENOTSOCK' : (error.code ?? '')] ?? {
    code: 'ERR_TARGET_ABSENT',
    meaning: error.message,
  }
  return new DirtyRateError(code, `${where}: ${meaning}`, {
    cause: error,
    details: { path: where },
  })
}

/** The error of a monitor whose queue stays full, as the queue of a stopped process does. */
export function crowded(where: string, address: Address, error: unknown): unknown {
  const stopped = stopOf(listenerAt(address))
  if (stopped === undefined) return error
  return new DirtyRateError('ERR_TARGET_TIMEOUT', `${where}: ${stopped.why}`, {
    hint: stopped.hint,
    cause: error,
    details: { path: where },
  })
}

/** The error of a monitor that sends no greeting, with the reason as far as it can be known. */
export function silent(
  where: string,
  address: Address,
  ms: number,
  connecting: boolean,
): DirtyRateError {
  const listener = listenerAt(address)
  const begin = `${where}: ${connecting ? 'no connection' : 'no greeting'} within ${ms} ms`
  const because = (code: ErrorCode, why: string, hint?: string): DirtyRateError =>
    new DirtyRateError(code, `${begin}${why}`, {
      ...(hint === undefined ? {} : { hint }),
      details: { path: where },
    })
  const stopped = stopOf(listener)
  if (stopped !== undefined) return because('ERR_TARGET_TIMEOUT', `: ${stopped.why}`, stopped.hint)
  if (connecting) return because('ERR_TARGET_TIMEOUT', '')
  const { pid, served = 0, waiting = 0 } = listener ?? {}
  if (served > 0 && waiting === 0)
    return because(
      'ERR_QMP_PROTOCOL',
      ': it has taken the connection and says nothing, so it is no QMP monitor',
    )
  // Of a process that cannot be looked at, nobody knows whether it is stopped.
  if (pid === undefined)
    return because(
      'ERR_QMP_BUSY',
      ', so another client has this monitor, its QEMU is stopped or hangs, or it is no QMP monitor',
    )
  if (served > 0) return because('ERR_QMP_BUSY', ': another client has this monitor')
  const asleep = stateOf(pid) === 'D' ? ' in a call of the kernel that no signal ends' : ''
  return because(
    'ERR_TARGET_TIMEOUT',
    `: nobody else has this monitor, and its process ${pid} takes no client: it hangs${asleep}, or has not started yet`,
    `See what it waits for: cat /proc/${pid}/wchan. Then try again.`,
  )
}

/** The error of a command without an answer, which says so if the process is stopped. */
export function unanswered(
  where: string,
  address: Address,
  command: string,
  ms: number,
): DirtyRateError {
  const stopped = stopOf(listenerAt(address))
  const why = stopped === undefined ? '' : `: ${stopped.why}`
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `${where}: no answer to ${command} within ${ms} ms${why}`,
    {
      ...(stopped === undefined ? {} : { hint: stopped.hint }),
      details: { path: where, call: command },
    },
  )
}

/** Why a monitor says nothing, if its process is stopped; undefined if nothing shows that. */
function stopOf(listener: Listener | undefined): { why: string; hint: string } | undefined {
  const { pid } = listener ?? {}
  const by = pid === undefined ? undefined : stoppedBy(pid)
  if (pid === undefined || by === undefined) return undefined
  return { why: `its process ${pid} is stopped by ${by}`, hint: goOn(pid, by) }
}

export function lost(where: string, why?: string): DirtyRateError {
  const text = `${where}: the monitor closed the connection${why === undefined ? '' : ` (${why})`}`
  return new DirtyRateError('ERR_TARGET_GONE', text, { details: { path: where } })
}

/** The error of a greeting that has begun, and does not end in time. */
export function unfinished(where: string, ms: number): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `${where}: the greeting has begun, and has not ended within ${ms} ms`,
    { hint: 'The connection or its QEMU is slow: try again.', details: { path: where } },
  )
}

/** The error of a server that says in place of its greeting why it serves nobody. */
export function turnedAway(where: string, desc: string): DirtyRateError {
  return new DirtyRateError('ERR_QMP_BUSY', `${where}: ${shortened(desc)}`, {
    hint: 'Wait until other clients have left, then try again.',
    details: { path: where },
  })
}

export function foreign(where: string, said: string): DirtyRateError {
  return new DirtyRateError(
    'ERR_QMP_PROTOCOL',
    `${where}: this is not QMP: ${JSON.stringify(shortened(said))}`,
    {
      details: { path: where },
    },
  )
}
