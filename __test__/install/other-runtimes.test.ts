/**
 * The package as installed, in realms and runtimes that are not plain Node: Jest, and Deno, which
 * runs no finalizer when a worker ends.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { platformPackage, tarball, UserFolder } from './installed.js'

const user = new UserFolder()
afterAll(() => user.remove())

const DENO = '2'
const JEST = '30'
const denoPackage = `@deno/linux-${process.arch}-glibc`

/** A folder below target/ with a package of the registry in it. */
function installed(name: string, version: string): string {
  const folder = join(root, 'target/runtimes', `${name.replaceAll('/', '-')}-${version}`)
  const found = join(folder, 'node_modules', name)
  if (existsSync(found)) return found
  mkdirSync(folder, { recursive: true })
  const args = [
    'install',
    '--prefix',
    folder,
    '--no-save',
    '--ignore-scripts',
    `${name}@${version}`,
  ]
  const { status, stderr } = spawnSync('npm', args, { encoding: 'utf8' })
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
  return found
}

beforeAll(async () => {
  await user.shell(`npm install --offline '${tarball('dirtyrate')}' '${tarball(platformPackage)}'`)
}, 120_000)

describeKvm('the package', () => {
  it('in Deno ends a VM with its worker', { timeout: 300_000 }, async () => {
    const deno = join(installed(denoPackage, DENO), 'deno')
    user.write(
      'worker.mjs',
      `import { VirtualMachine, workload } from 'dirtyrate'
       const vm = await VirtualMachine.create({ memory: '64MiB', vcpus: 2 })
       await vm.load(workload.stride({ pages: 100 }))
       await vm.start()
       globalThis.vm = vm
       self.postMessage('running')`,
    )
    user.write(
      'main.mjs',
      `const nameOf = name => {
         try {
           return Deno.readTextFileSync('/proc/self/task/' + name + '/comm')
         } catch {
           return ''
         }
       }
       const vcpus = () => [...Deno.readDirSync('/proc/self/task')].filter(({ name }) => nameOf(name).startsWith('vcpu')).length
       for (let round = 0; round < 3; round++) {
         const worker = new Worker(new URL('worker.mjs', import.meta.url), { type: 'module' })
         await new Promise(resolve => {
           worker.onmessage = resolve
         })
         console.log('running', vcpus())
         worker.terminate()
         while (vcpus() > 0) await new Promise(resolve => setTimeout(resolve, 10))
         console.log('ended', vcpus())
       }
       Deno.exit(0)`,
    )
    const args = ['run', '--allow-all', '--node-modules-dir=manual', 'main.mjs']
    const { status, stdout } = await user.run(deno, args)
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'running 2\nended 0\n'.repeat(3) })
  })

  it('in Jest has its errors, hints and loops', { timeout: 300_000 }, async () => {
    const jest = join(installed('jest', JEST), 'bin/jest.js')
    user.write('package.json', '{ "name": "user", "jest": { "testEnvironment": "node" } }')
    user.write(
      'dirtyrate.test.js',
      `const { DirtyRateError, VirtualMachine, workload } = require('dirtyrate')
       test('errors and loops', async () => {
         const vm = await VirtualMachine.create({ memory: '64MiB' })
         await vm.load(workload.stride({ pages: 100 }))
         await vm.start()
         const error = await vm.start().catch(error => error)
         expect(error).toBeInstanceOf(DirtyRateError)
         expect(error).toMatchObject({ name: 'DirtyRateError', code: 'ERR_STATE', hint: expect.any(String) })
         const reading = vm.console[Symbol.asyncIterator]()
         const next = reading.next()
         await reading.return()
         expect(await next).toEqual({ done: true, value: undefined })
         expect((await vm.measureDirtyRate({ window: 20 })).complete).toBe(true)
         await vm.close()
       })`,
    )
    const { status, stderr } = await user.run('node', [jest, '--rootDir', user.project])
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
  })
})
