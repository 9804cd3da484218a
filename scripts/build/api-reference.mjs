// npm run docs:api: the API reference of both languages, made from the comments in the code. What
// is exported without a page of its own, a link that leads nowhere, and an entry without a comment
// are failures.
//
//   target/docs/typescript/index.html     by typedoc, which typedoc.json configures
//   target/doc/dirtyrate/index.html       by rustdoc, and target/doc/dirtyrate_machine

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from '../root.mjs'
import { npmTools } from '../tools/install.mjs'
import { orGiveUp } from './prerequisites.mjs'

const modules = orGiveUp(() => npmTools('scripts/tools', 'target/tools/node'))
const references = [
  { name: 'typedoc', command: process.execPath, args: [join(modules, 'typedoc/bin/typedoc')] },
  {
    name: 'rustdoc',
    command: 'cargo',
    args: ['doc', '-p', 'dirtyrate', '-p', 'dirtyrate-machine', '--no-deps', '--locked', '--quiet'],
  },
]
const env = { ...process.env, RUSTDOCFLAGS: '-D warnings' }
for (const { name, command, args } of references) {
  const { status } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status === 0) continue
  process.stderr.write(`${name} ended with ${status}\n`)
  process.exitCode = 1
}
