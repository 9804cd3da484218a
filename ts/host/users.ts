/** The names of this host's users. */

import { readText } from '../ground/proc.js'

/** The name of each user that /etc/passwd has, by number. */
export function usersByUid(): Map<number, string> {
  const users = new Map<number, string>()
  for (const line of (readText('/etc/passwd') ?? '').split('\n')) {
    const [name = '', , uid = ''] = line.split(':')
    if (/^\d+$/.test(uid) && !users.has(Number(uid))) users.set(Number(uid), name)
  }
  return users
}
