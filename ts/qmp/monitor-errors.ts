/** The errors of a monitor that cannot be reached, or does not speak QMP. */

import { shortened } from '../ground/arguments.js'
import { DirtyRateError, type ErrorCode } from '../ground/errors.js'
import { isSocketFile } from '../ground/socket-file.js'

/** What the errors of a socket mean to somebody who wants to reach a VM. */
const SOCKET_ERRORS: Readonly<Record<string, { code: ErrorCode; meaning: string }>> = {
  ENOENT: { code: 'ERR_TARGET_ABSENT', meaning: 'there is no such socket' },
  ENOTSOCK: { code: 'ERR_TARGET_ABSENT', meaning: 'this file is no socket' },
  ECONNREFUSED: {
    code: 'ERR_TARGET_ABSENT',
    meaning: 'nobody listens there: the QEMU of this socket has ended',
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
  const { code, meaning } = SOCKET_ERRORS[isOther ? 'ENOTSOCK' : (error.code ?? '')] ?? {
    code: 'ERR_TARGET_ABSENT',
    meaning: error.message,
  }
  return new DirtyRateError(code, `${where}: ${meaning}`, {
    cause: error,
    details: { path: where },
  })
}

export function silent(where: string, ms: number, connecting: boolean): DirtyRateError {
  if (connecting) {
    return new DirtyRateError('ERR_TARGET_TIMEOUT', `${where}: no connection within ${ms} ms`, {
      details: { path: where },
    })
  }
  return new DirtyRateError(
    'ERR_QMP_BUSY',
    `${where}: no greeting within ${ms} ms, so another client has this monitor, or the socket is no QMP monitor`,
    { details: { path: where } },
  )
}

export function unanswered(where: string, command: string, ms: number): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `${where}: no answer to ${command} within ${ms} ms`,
    {
      details: { path: where, call: command },
    },
  )
}

export function lost(where: string, why?: string): DirtyRateError {
  const text = `${where}: the monitor closed the connection${why === undefined ? '' : ` (${why})`}`
  return new DirtyRateError('ERR_TARGET_GONE', text, { details: { path: where } })
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
