/**
 * The file of a listening socket: only its owner can connect, from the first moment on; what
 * somebody uses, and what is no socket, is left alone.
 */

import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import { lstat, rename, stat, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { show } from '../../ground/arguments.js'
import { argumentError, DirtyRateError, isError } from '../../ground/errors.js'
import { hostProcess } from '../../ground/host-process.js'
import { LONGEST_SOCKET_PATH } from '../../ground/socket-file.js'

/** The bits that a new file does not get: only its owner may read and write it. */
const OWNER_ONLY = 0o177

/** Returns `path` if a socket can have it. Throws ERR_ARGUMENT, which calls it `name`. */
export function parseSocketPath(path: string, name: string): string {
  const bytes = Buffer.byteLength(path)
  if (bytes > LONGEST_SOCKET_PATH) {
    throw argumentError(
      `${name}: ${show(path)} has ${bytes} bytes, and the path of a socket has at most ${LONGEST_SOCKET_PATH}`,
      'Give a shorter path, such as one in /run or in /tmp.',
    )
  }
  if (path.includes('\0')) throw argumentError(`${name}: ${show(path)} has a NUL`)
  return path
}

/** A file, whatever its name. */
interface Identity {
  readonly dev: bigint
  readonly ino: bigint
}

/**
 * Lets `server` listen at `path`. A socket at which nobody listens any more is replaced. Resolves
 * with a function that ends the listening, and removes the socket. Rejects with ERR_SOCKET, and in
 * a worker thread with ERR_UNSUPPORTED.
 */
export async function listenAt(server: Server, path: string): Promise<() => Promise<void>> {
  if (!isMainThread) {
    throw new DirtyRateError('ERR_UNSUPPORTED', 'a worker thread cannot set the mode of a socket', {
      hint: 'Serve from the main thread.',
    })
  }
  await makeRoom(path)
  const listening = once(server, 'listening')
  const before = hostProcess.umask(OWNER_ONLY)
  try {
    // Node binds within this call, so that no other moment has this mask. `exclusive` keeps it from
    // asking the primary process of a cluster to bind.
    server.listen({ path, exclusive: true })
  } finally {
    hostProcess.umask(before)
  }
  try {
    await listening
    const ours = await lstat(path, { bigint: true })
    return () => stopListening(server, path, ours)
  } catch (error) {
    server.close()
    throw unusable(path, error)
  }
}

/** Node removes whatever is at the path when it closes the server, so a file of others is kept. */
async function stopListening(server: Server, path: string, ours: Identity): Promise<void> {
  const now = await lstat(path, { bigint: true }).catch(() => undefined)
  const isForeign = now !== undefined && (now.dev !== ours.dev || now.ino !== ours.ino)
  const aside = besideOf(path)
  if (isForeign) await rename(path, aside)
  // The listening ends at once, and the callback is called when all clients are gone.
  server.close()
  if (isForeign) await rename(aside, path)
}

/** Another name in the folder of `path`. */
const besideOf = (path: string): string =>
  join(dirname(path), `.${hostProcess.pid}.${basename(path)}`.slice(0, 16))

/** Takes away a socket at which nobody listens. Rejects if anything else is there. */
async function makeRoom(path: string): Promise<void> {
  if (!(await isStale(path, path))) return
  // Under another name nobody else can begin to use it, between the look and the end.
  const aside = besideOf(path)
  try {
    await rename(path, aside)
    await isStale(aside, path)
    await unlink(aside)
  } catch (error) {
    throw unusable(path, error)
  }
}

/** Whether a dead socket is at `at`; false if nothing is. Rejects if it is anything else. */
async function isStale(at: string, path: string): Promise<boolean> {
  try {
    if (!(await lstat(at)).isSocket())
      throw refused(path, 'this is no socket, and it is left alone')
  } catch (error) {
    if (!isAbsent(error)) throw unusable(path, error)
    // Node would call a folder that is not there a lack of permission.
    await stat(dirname(path)).catch((absence: unknown) => {
      throw unusable(path, absence)
    })
    return false
  }
  const failure = await connecting(at)
  if (failure === 'ECONNREFUSED') return true
  if (failure === 'ENOENT') return false
  throw refused(
    path,
    failure === 'EACCES' || failure === 'EPERM'
      ? 'a socket of another user is there, and it is left alone'
      : 'another program uses this socket',
  )
}

/** The code of the error of connecting to `path`; undefined if somebody answers. */
function connecting(path: string): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = connect({ path })
    socket.once('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message))
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
  })
}

const isAbsent = (error: unknown): boolean => (error as { code?: unknown }).code === 'ENOENT'

const refused = (path: string, why: string): DirtyRateError =>
  new DirtyRateError('ERR_SOCKET', `${path}: ${why}`, { details: { path } })

/** The error about a path at which no socket can be made. */
function unusable(path: string, error: unknown): DirtyRateError {
  if (error instanceof DirtyRateError) return error
  const { code, message } = isError(error) ? (error as Error & { code?: string }) : {}
  const why: Readonly<Record<string, string>> = {
    ENOENT: 'its folder does not exist',
    ENOTDIR: 'a part of its path is a file, and not a folder',
    EACCES: 'this user may not make a socket there',
    EPERM: 'this user may not make a socket there',
    EROFS: 'this file system can only be read',
    EADDRINUSE: 'another program has made it meanwhile',
  }
  return new DirtyRateError('ERR_SOCKET', `${path}: ${why[code ?? ''] ?? message ?? error}`, {
    cause: error,
    details: { path },
  })
}
