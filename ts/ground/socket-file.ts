/** Sockets in the file system. */

import { statSync } from 'node:fs'

/** Whether `path` is a socket. A path that cannot be looked at is none. */
export function isSocketFile(path: string): boolean {
  try {
    return statSync(path).isSocket()
  } catch {
    return false
  }
}
