/** The groups of this host, and whether this process is in one. */

import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { hostProcess } from './host-process.js'

/** A line of /etc/group. */
export interface Group {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

/** `later`: the user is a member, but this process began before that, so it lacks the group. */
export type Membership = 'now' | 'later' | 'none'

/** The groups in /etc/group; none in a container that has no such file. */
export function groups(): Group[] {
  try {
    return parseGroups(readFileSync('/etc/group', 'utf8'))
  } catch {
    return []
  }
}

export function parseGroups(text: string): Group[] {
  return text.split('\n').flatMap(line => {
    const [name = '', , gid = '', members = ''] = line.split(':')
    if (!/^\d+$/.test(gid)) return []
    return [{ name, gid: Number(gid), members: members.split(',').filter(one => one !== '') }]
  })
}

/**
 * The name of this process's user, from the database of users; undefined if it has none. The
 * variable USER is no proof: it may be unset, and sudo may keep that of another user.
 */
export function userName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}

export function membershipIn({ gid, members }: Group, user: string | undefined): Membership {
  if (hostProcess.getegid?.() === gid || hostProcess.getgroups?.().includes(gid)) return 'now'
  return user !== undefined && members.includes(user) ? 'later' : 'none'
}

/** The command that makes `user` a member. */
export const joinCommand = (group: string, user: string | undefined): string =>
  `sudo usermod -aG ${group} ${user ?? '"$(id -un)"'}`

/** How a user runs this program as root, also where it is installed in one project only. */
export const AS_ROOT_COMMAND = 'sudo npx dirtyrate'
