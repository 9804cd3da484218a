/** Writes a file whole or not at all: what was there before stays until the new contents are complete. */

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Rejects with the system's error, and leaves no part of `contents` behind. */
export async function writeWholeFile(file: string, contents: Uint8Array): Promise<void> {
  // A link stays one, and what it leads to is replaced.
  const path = await realpath(file).catch(() => file)
  const before = await stat(path).catch(() => undefined)
  // Pipes and devices take what they are given; a directory says itself that it is one.
  if (before !== undefined && !before.isFile()) return writeInto(path, contents)
  const beside = join(dirname(path), `.${basename(path).slice(0, 200)}.${randomBytes(4).toString('hex')}`)
  let handle: FileHandle
  try {
    // The file itself says whether it may be written to; its folder alone would let anyone replace it.
    if (before !== undefined) await (await open(path, constants.O_WRONLY)).close()
    handle = await open(beside, 'wx', before?.mode ?? 0o666)
  } catch (error) {
    // A file that may be written to, in a folder that takes no new one.
    if (before !== undefined && (error as NodeJS.ErrnoException).path === beside)
      return overwrite(path, contents)
    throw error
  }
  try {
    try {
      await handle.writeFile(contents)
      // The mode again: what is asked for at the opening has the umask taken from it.
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

/** A pipe that nobody reads is refused, because nothing could end the wait for a reader. */
async function writeInto(path: string, contents: Uint8Array): Promise<void> {
  const handle = await open(path, constants.O_WRONLY | constants.O_NONBLOCK)
  try {
    await handle.writeFile(contents)
  } finally {
    await handle.close()
  }
}

/** Without room for another file: what could not be written whole is taken back, which leaves the file empty. */
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
