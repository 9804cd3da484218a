/**
 * Writes a file either completely or not at all: the old contents stay until the new contents are
 * complete.
 */

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import {
  access,
  type FileHandle,
  open,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { argumentError } from '../ground/errors.js'
import { systemReason } from './failure.js'

/**
 * Does what {@link writeWholeFile} does, for a file that the user has given with `option`. Rejects
 * with ERR_ARGUMENT if the file cannot be written.
 */
export async function writeNamedFile(
  option: string,
  file: string,
  contents: Uint8Array,
): Promise<void> {
  await named(option, file, () => writeWholeFile(file, contents))
}

/**
 * Rejects in the same way if it is clear already that the file cannot be written: it, or the folder
 * that it is to be in, is not there or not writable.
 */
export async function requireWritable(option: string, file: string): Promise<void> {
  await named(option, file, async () => {
    const path = await behindLinks(file)
    const before = await stat(path).catch(() => undefined)
    // With the dot, a file that is no folder is refused.
    if (before === undefined) await access(`${dirname(path)}/.`, constants.W_OK)
    // Opening a pipe to try it would end it for its reader.
    else if (!before.isDirectory()) await access(path, constants.W_OK)
    // The system's error says that it is a folder.
    else await (await open(path, constants.O_WRONLY)).close()
  })
}

async function named(option: string, file: string, write: () => Promise<void>): Promise<void> {
  try {
    await write()
  } catch (error) {
    throw argumentError(
      `${option}: '${file}' cannot be written: ${systemReason(error as NodeJS.ErrnoException)}`,
      hintOf(error as NodeJS.ErrnoException),
    )
  }
}

/** What to do about a file that cannot be written. */
function hintOf({ code }: NodeJS.ErrnoException): string {
  if (code === 'EFBIG') return 'This shell limits the size of files: raise it with ulimit -f.'
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return 'Make room there, or give a file on another file system.'
  return 'Give a file that can be written.'
}

/** Rejects with the system's error, and leaves no part of `contents` behind. */
export async function writeWholeFile(file: string, contents: Uint8Array): Promise<void> {
  // If the file is a link, it stays a link, and the file to which it leads is replaced.
  const path = await behindLinks(file)
  const before = await stat(path).catch(() => undefined)
  // Pipes and devices are written to directly. For a directory the system gives the right error.
  if (before !== undefined && !before.isFile()) return writeInto(path, contents)
  const beside = join(
    dirname(path),
    `.${basename(path).slice(0, 200)}.${randomBytes(4).toString('hex')}`,
  )
  let handle: FileHandle
  try {
    // The permissions of the file itself decide whether it may be written, because the permissions
    // of its folder alone would allow replacing it.
    if (before !== undefined) await (await open(path, constants.O_WRONLY)).close()
    handle = await open(beside, 'wx', before?.mode ?? 0o666)
  } catch (error) {
    // The file may be written, but its folder does not allow a new file.
    if (before !== undefined && (error as NodeJS.ErrnoException).path === beside)
      return overwrite(path, contents)
    throw error
  }
  try {
    try {
      await handle.writeFile(contents)
      // The mode is set again, because the umask was taken from the mode at the opening.
      if (before !== undefined) await handle.chmod(before.mode)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(beside, path)
  } catch (error) {
    await rm(beside, { force: true })
    throw error
  }
}

/** The path of the file to which `file` leads by links, also if that file does not exist yet. */
async function behindLinks(file: string): Promise<string> {
  try {
    return await realpath(file)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Links that lead in a circle lead to no file, and none of them must be replaced.
    if (code === 'ELOOP') throw error
    const link = code === 'ENOENT' ? await readlink(file).catch(() => undefined) : undefined
    return link === undefined ? file : behindLinks(resolve(await realpath(dirname(file)), link))
  }
}

/** A pipe that nobody reads is refused, because nothing could end the wait for a reader. */
async function writeInto(path: string, contents: Uint8Array): Promise<void> {
  const handle = await open(path, constants.O_WRONLY | constants.O_NONBLOCK)
  try {
    await handle.writeFile(contents)
  } finally {
    await handle.close()
  }
}

/**
 * Writes into the file itself, because no other file can be made beside it. If the contents cannot
 * be written completely, the file is left empty.
 */
async function overwrite(path: string, contents: Uint8Array): Promise<void> {
  const handle = await open(path, constants.O_WRONLY | constants.O_TRUNC)
  try {
    await handle.writeFile(contents)
  } catch (error) {
    await handle.truncate(0)
    throw error
  } finally {
    await handle.close()
  }
}
