/**
 * VMs that were not closed are ended if no code can reach them any more, or if their worker has
 * ended.
 */

import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, it, onTestFinished } from 'vitest'
import { root, run } from './fixtures/command.js'
import { describeKvm, full } from './fixtures/kvm.js'
import { sleep } from './fixtures/machine.js'

/**
 * More than V8 lets the memory outside of its heap grow between two collections (64 MiB) is what
 * each of these VMs weighs: beside the last ones there are those of the collection that is under
 * way.
 */
const OPEN_AT_ONCE = 10

const leaking = `
  import { readdirSync, readlinkSync } from 'node:fs'
  import { VirtualMachine, workload } from 'dirtyrate'
  const isVm = fd => {
    try {
      return readlinkSync('/proc/self/fd/' + fd).includes('kvm-vm')
    } catch {
      return false
    }
  }
  let most = 0
  for (let count = 0; count < ${full ? 300 : 60}; count++) {
    const vm = await VirtualMachine.create({ memory: '256MiB' })
    await vm.load(workload.stride({ pages: 1000 }))
    await vm.start()
    await vm.pause()
    // Who has listened, and does no more, keeps no VM.
    vm.onStateChange(() => {})()
    most = Math.max(most, readdirSync('/proc/self/fd').filter(isVm).length)
  }
  console.log(most)
  process.exit(0)`

/**
 * A VM that nobody has but who waits for what becomes of it. Prints how many vCPUs run after
 * collections.
 */
const awaited = (wait: string): string => `
  import { readdirSync, readFileSync } from 'node:fs'
  import { VirtualMachine, workload } from 'dirtyrate'
  const isVcpu = thread => readFileSync('/proc/self/task/' + thread + '/comm', 'utf8').startsWith('vcpu')
  const begin = async () => {
    const vm = await VirtualMachine.create({ memory: '64MiB' })
    await vm.load(workload.stride({ pages: 1000 }))
    await vm.start()
    ${wait}
  }
  await begin()
  for (let count = 0; count < 20; count++) {
    gc()
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  console.log(readdirSync('/proc/self/task').filter(isVcpu).length)
  process.exit(0)`

const listening = `
  import { VirtualMachine, workload } from 'dirtyrate'
  const vm = await VirtualMachine.create({ memory: '64MiB' })
  await vm.load(workload.stride({ pages: 1000 }))
  await vm.start()
  vm.onStateChange(() => {})`

/** The threads of this process that run a vCPU. */
function vcpuThreads(): number {
  const nameOf = (thread: string): string => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8')
    } catch {
      return ''
    }
  }
  return readdirSync('/proc/self/task').filter(thread => nameOf(thread).startsWith('vcpu')).length
}

describeKvm('VMs that nobody closes', () => {
  it('are collected by what they weigh, and not by their few bytes of JavaScript', async () => {
    const { status, stdout, stderr } = await run(process.execPath, [
      '--input-type=module',
      '--eval',
      leaking,
    ])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(Number(stdout)).toBeLessThanOrEqual(OPEN_AT_ONCE)
  })

  it.each([
    ['are collected when nobody waits for them', '', '0\n'],
    ['are not collected while somebody waits for their end', 'vm.ended.then(() => {})', '1\n'],
    ['are not collected while somebody listens', 'vm.onStateChange(() => {})', '1\n'],
  ])('%s', async (_, wait, vcpus) => {
    const options = ['--expose-gc', '--input-type=module', '--eval', awaited(wait)]
    const { status, stdout, stderr } = await run(process.execPath, options)
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: vcpus, stderr: '' })
  })

  it('keep no process alive by a listener', { timeout: 60_000 }, async () => {
    const options = ['--input-type=module', '--eval', listening]
    const { status, stdout, stderr } = await run(process.execPath, options)
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  })

  it('end with the worker that made them', async () => {
    const file = join(root, 'dist', `running-${process.pid}.mjs`)
    writeFileSync(
      file,
      `import { parentPort } from 'node:worker_threads'
       import { VirtualMachine, workload } from './index.js'
       const vm = await VirtualMachine.create({ memory: '64MiB', vcpus: 2 })
       await vm.load(workload.stride({ pages: 100 }))
       await vm.start()
       globalThis.measured = vm.measureDirtyRate({ window: '1h' })
       setTimeout(() => parentPort.postMessage('running'), 50)`,
    )
    onTestFinished(() => rmSync(file, { force: true }))
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(file)
      await once(worker, 'message')
      expect(vcpuThreads()).toBe(2)
      await worker.terminate()
      while (vcpuThreads() > 0) await sleep(5)
    }
  })
})
