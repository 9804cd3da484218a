// npm start: runs the set-up, then the demo. Arguments after -- go to the demo.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { giveUp, missingKvm } from './build/prerequisites.mjs'
import { root } from './root.mjs'
import { setUp } from './setup.mjs'

// This is checked before the build, so that nobody waits a minute for the message that there is no
// KVM.
const kvm = missingKvm()
if (kvm !== undefined) giveUp(kvm)

setUp()

const demo = spawn(
  process.execPath,
  [join(root, 'dist/cli.js'), 'demo', ...process.argv.slice(2)],
  {
    stdio: 'inherit',
  },
)
// A signal that ends this process should end the demo too. Ctrl-C reaches the demo as well, which
// takes a second signal for the same one.
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']
for (const signal of SIGNALS) process.on(signal, () => demo.kill(signal))
demo.on('error', error => giveUp(`the demo cannot be run: ${error.message}`, 1))
demo.on('exit', (status, signal) => {
  process.exitCode = status ?? 1
  if (signal === null) return
  // What ended the demo ends this process: a shell sees the same status.
  for (const name of SIGNALS) process.removeAllListeners(name)
  process.kill(process.pid, signal)
})
