/** `dirtyrate qmp --socket PATH TARGET`: serves QEMU's commands for a target. */

import { DirtyRateError } from '../ground/errors.js'
import { createQmpServer, type QmpServerEnd } from '../qmp/server/server.js'
import { parseSocketPath } from '../qmp/server/socket-file.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { withTarget } from './target.js'

export interface QmpOptions {
  socket: string
  allowControl: boolean
}

/** What the command says about the end of its server. */
const ENDS: Readonly<Record<QmpServerEnd, string>> = {
  closed: 'The server has ended.',
  quit: 'A client has ended the virtual machine.',
  'guest-shutdown': 'The guest has switched itself off.',
  'guest-crashed': 'The guest has crashed.',
  'target-gone': 'The virtual machine is no longer there.',
}
const FAILURES: readonly QmpServerEnd[] = ['guest-crashed', 'target-gone']

/** How to get qmp-shell, which no package of QEMU brings. */
const GET_QMP_SHELL = 'to get it: pipx install qemu.qmp'

export async function runQmp(session: Session, uri: string, options: QmpOptions): Promise<number> {
  session.streamDocuments()
  const { signal } = session
  const socket = parseSocketPath(options.socket, '--socket')
  return withTarget(session, uri, { mode: { mode: 'auto' }, force: false }, async target => {
    const { allowControl } = options
    const server = await createQmpServer(target, { socket, allowControl, signal })
    const interrupted = new Promise<'interrupted'>(resolve => {
      signal.addEventListener('abort', () => resolve('interrupted'), { once: true })
    })
    try {
      const { commands } = server
      session.document({ schemaVersion: 1, target: target.uri, socket, commands })
      session.note(`Serving ${target.uri} at ${socket}, until interrupted.`)
      session.note(`Try it: qmp-shell ${socket} (${GET_QMP_SHELL})`)
      const end = await Promise.race([server.ended, interrupted])
      if (end === 'interrupted') {
        await server.close()
        // Only a target that is closed knows whether its QEMU goes on with a measurement.
        await target.close()
        throw signalled()
      }
      session.note(ENDS[end])
      return FAILURES.includes(end) ? EXIT_FAILED : EXIT_OK
    } finally {
      await server.close()
    }
  })
}

const signalled = (): DirtyRateError =>
  new DirtyRateError('ERR_CANCELLED', 'interrupted', {
    hint: 'The server has ended, and its socket is removed.',
  })
