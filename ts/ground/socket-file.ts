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

/** The bytes of a path in Linux's `sockaddr_un`, without the NUL that ends it. */
export const LONGEST_SOCKET_PATH = 107
