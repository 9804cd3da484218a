// npm start: the set-up, then the demo. What stands after -- goes to the demo.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { giveUp, missingKvm } from './prerequisites.mjs'
import { root, setUp } from './setup.mjs'

// Before the build: nobody should wait a minute to be told that there is no KVM.
const kvm = missingKvm()
if (kvm !== undefined) giveUp(kvm)

setUp()

// The demo has SIGINT itself, from the terminal; this process waits for how it ends.
process.on('SIGINT', () => {})
const demo = spawnSync(process.execPath, [join(root, 'dist/cli.js'), 'demo', ...process.argv.slice(2)], {
  stdio: 'inherit',
})
process.exitCode = demo.status ?? 1
