/** Stops a VM by its monitor, lets it go on, and ends it. */

import { hasCode } from '../../ground/errors.js'
import type { Control } from '../target.js'
import type { Monitor } from './monitor.js'

export function controlBy(monitor: Monitor): Control {
  // QEMU stops a stopped VM, and lets a running one go on, without an error.
  const twice = (command: string): Promise<void> =>
    monitor.use(async use => {
      await use.ask(command)
    })
  return {
    isOwn: false,
    pause: () => twice('stop'),
    resume: () => twice('cont'),
    shutdown: () =>
      monitor.use(async use => {
        const connection = await use.connection()
        await connection.execute('quit').catch(error => {
          // QEMU may be gone before its answer is read.
          if (!hasCode(error, 'ERR_TARGET_GONE')) throw error
        })
      }),
  }
}
