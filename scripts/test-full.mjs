// npm run test:full: everything that npm test does, with the long forms of the tests, then the mutation gate.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from './setup.mjs'
import { conclude, runTests } from './test.mjs'

process.env.DIRTYRATE_TEST_FULL = '1'
const sum = await runTests()
const gate = spawnSync(process.execPath, [join(root, 'scripts/mutation-gate.mjs')], {
  cwd: root,
  stdio: 'inherit',
})
process.stdout.write(`\nmutation gate: ${gate.status === 0 ? 'every break fails a test' : 'FAILED'}\n`)
conclude({
  ...sum,
  passed: sum.passed + (gate.status === 0 ? 1 : 0),
  failed: sum.failed + (gate.status === 0 ? 0 : 1),
})
