/**
 * The Electron example against the package as installed: it is type-checked by Electron's own
 * declarations, and Node measures what its main process measures. Electron's binary is not in the
 * registries.
 */

import { spawnSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { platformPackage, tarball, UserFolder } from './installed.js'

const user = new UserFolder()
afterAll(() => user.remove())

beforeAll(() => {
  cpSync(join(root, 'examples/electron'), user.project, { recursive: true })
  // Its scripts would fetch the binary; the declarations come without.
  const install = [
    'install',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    tarball('dirtyrate'),
    tarball(platformPackage),
  ]
  const { status, stderr } = spawnSync('npm', install, { cwd: user.project, encoding: 'utf8' })
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
})

async function compile(): Promise<void> {
  const tsc = join(user.project, 'node_modules/typescript/bin/tsc')
  expect(await user.run(process.execPath, [tsc, '-p', '.'])).toMatchObject({
    status: 0,
    stdout: '',
  })
}

it('type-checks', compile)

describeKvm('its main process', () => {
  it('takes a snapshot of the guest', async () => {
    await compile()
    user.write(
      'snapshot.mjs',
      `import { VirtualMachine, workload } from 'dirtyrate'
import { takeSnapshot } from './out/snapshot.js'
const vm = await VirtualMachine.create({ memory: '64MiB' })
try {
  await vm.load(workload.stride({ pages: 2000 }))
  await vm.start()
  const { pages, heat } = structuredClone(await takeSnapshot(vm))
  console.log(JSON.stringify({ pages, regions: heat.length, inHeat: heat.reduce((sum, pages) => sum + pages, 0) }))
} finally {
  await vm.close()
}
`,
    )
    const { status, stdout, stderr } = await user.run('node', ['snapshot.mjs'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const { pages, regions, inHeat } = JSON.parse(stdout)
    expect(regions).toBe(32)
    // What the window found is what the map shows.
    expect(inHeat).toBe(pages)
    expect(pages).toBeGreaterThan(0)
  })
})
