// npm start: the set-up, then the demo. What stands after -- goes to the demo.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { giveUp, missingKvm } from './build/prerequisites.mjs'
import { root } from './root.mjs'
import { setUp } from './setup.mjs'

// Before the build: nobody should wait a minute to be told that there is no KVM.
const kvm = missingKvm()
if (kvm !== undefined) giveUp(kvm)

setUp()

const demo = spawn(process.execPath, [join(root, 'dist/cli.js'), 'demo', ...process.argv.slice(2)], {
  stdio: 'inherit',
})
// Whoever ends this process wants the demo to end. Of Ctrl-C the demo has its own signal, and takes a second one for the same.
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
