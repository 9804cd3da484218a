/** Notices that libvirt pauses a domain, also if the pause begins and ends between two looks. */

import type { LibvirtConnection } from './connection.js'
import type { Identity } from './domain.js'
import { startVirsh } from './virsh.js'

const MS_PER_SECOND = 1000

/**
 * Listens to the events of a domain until `ended` is called, which resolves with whether the domain
 * was paused or let go on meanwhile. After `longestMs` it ends by itself.
 */
export function listenForPauses(
  { uri }: LibvirtConnection,
  { uuid }: Identity,
  longestMs: number,
): { ended(): Promise<boolean> } {
  const timeout = String(Math.ceil(longestMs / MS_PER_SECOND))
  const args = ['event', '--domain', uuid, '--event', 'lifecycle', '--loop', '--timeout', timeout]
  const events = startVirsh(args, uri)
  return {
    // The line of such an event is: event 'lifecycle' for domain 'NAME': Suspended Paused
    ended: async () => /': (Suspended|Resumed|PMSuspended) [^']*$/m.test(await events.end()),
  }
}
