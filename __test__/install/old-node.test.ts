/** A distribution's older Node: the command says which one it needs. */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { full } from '../fixtures/kvm.js'
import { tarball, UserFolder } from './installed.js'

const user = new UserFolder()
afterAll(() => user.remove())
const command = 'node_modules/dirtyrate/bin/dirtyrate.cjs'

beforeAll(async () => {
  await user.shell(`npm install --offline '${tarball('dirtyrate')}'`)
})

const message = (version: string): string =>
  `dirtyrate: Node 20.19 or later is needed; this is ${version}.\nGet it from nodejs.org, or: nvm install 22\n`

it.each(['20.18.3', '18.20.8', '12.22.12'])(
  'Node %s, as far as it can be claimed',
  async version => {
    const claim = user.write(
      'claim.cjs',
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`,
    )
    expect(await user.run('node', ['--require', claim, command, '--version'])).toEqual({
      status: 3,
      stdout: '',
      stderr: message(version),
    })
  },
)

it.each(['20.19.0', '22.0.0', '100.1.0'])('Node %s is new enough', async version => {
  const claim = user.write(
    'claim.cjs',
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`,
  )
  expect(await user.run('node', ['--require', claim, command, '--version'])).toMatchObject({
    status: 0,
    stderr: '',
  })
})

/** That Node itself, from the registry's package of it, kept below target/. */
function olderNode(version: string): string {
  const name = `node-linux-${process.arch}`
  const folder = join(root, 'target/nodes', version)
  const node = join(folder, 'package/bin/node')
  if (!existsSync(node)) {
    mkdirSync(folder, { recursive: true })
    const get = `npm pack --silent ${name}@${version} && tar -xzf ${name}-*.tgz && rm ${name}-*.tgz`
    const { status } = spawnSync('sh', ['-ec', get], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    expect(status).toBe(0)
  }
  return node
}

it.runIf(full).each(['18.20.8', '12.22.12'])('Node %s itself', async version => {
  expect(await user.run(olderNode(version), [command, 'demo'])).toEqual({
    status: 3,
    stdout: '',
    stderr: message(version),
  })
})
