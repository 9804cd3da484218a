/** Finds real QEMUs, VMs of our own, and processes that only look like one. */

import { mkdirSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Route, routesTo } from '../../ts/host/reach.js'
import { findVms, type VmProcess } from '../../ts/host/virtual-machines.js'
import { thisReader } from '../../ts/targets/process/rights.js'
import { cli } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY, MEMORY_BYTES } from '../fixtures/machine.js'
import { appeared, ended, started } from '../fixtures/programs.js'

const QEMU = 'qemu-system-x86_64'
/** A machine that has neither firmware nor a guest, so that it starts at once. */
const EMPTY = ['-machine', 'none', '-nodefaults', '-display', 'none']

/** The VM of a process, as soon as the host shows it in this form. */
async function vmOf(
  pid: number,
  isReady: (vm: VmProcess) => boolean = () => true,
): Promise<VmProcess> {
  for (;;) {
    const { vms } = await findVms()
    const vm = vms.find(one => one.pid === pid)
    if (vm !== undefined && isReady(vm)) return vm
    await sleep(20)
  }
}

const routes = (vm: VmProcess, virsh = true): Route[] =>
  routesTo(vm, { reader: thisReader(), virsh })
const routeOf = (vm: VmProcess, target: string): Route | undefined =>
  routes(vm).find(route => route.target === target)

/** A folder of the test's own. */
const place = (): string => dirname(folder()('x', ''))

it('lists a few of the monitors of a machine that has very many', () => {
  const monitors = Array.from({ length: 3000 }, (_, at) => ({ host: '127.0.0.1', port: at + 1 }))
  const vm = { pid: process.pid, vmm: 'qemu', program: QEMU, uid: 0, monitors } as const
  // And its process.
  expect(routes(vm)).toHaveLength(16 + 1)
})

describeInstalled(QEMU, 'a QEMU', () => {
  it('is found with its name, memory, vCPUs, and each of its QMP sockets', async () => {
    const at = place()
    const args = ['-m', '256', '-smp', '2', '-name', 'guest=a,,b,debug-threads=on']
    const monitors = [
      ...['-qmp', `unix:${at}/one.sock,server=on,wait=off`],
      ...['-chardev', 'socket,id=m,path=two.sock,server=on,wait=off', '-mon', 'm,mode=control'],
      ...['-monitor', `unix:${at}/people.sock,server=on,wait=off`],
    ]
    const machine = ['-machine', 'pc', '-accel', 'tcg', '-S', '-nodefaults', '-display', 'none']
    const child = started(QEMU, [...machine, ...args, ...monitors], { cwd: at })
    const { pid } = child
    for (const name of ['one', 'two', 'people']) await appeared(join(at, `${name}.sock`), child)
    // Its monitors are there before its memory is.
    const vm = await vmOf(pid, ({ noMemory }) => noMemory === undefined)
    expect(vm).toMatchObject({
      vmm: 'qemu',
      name: 'a,b',
      accelerator: 'tcg',
      memoryBytes: 2 ** 28,
      vcpus: 2,
      uid: process.geteuid?.(),
    })
    expect(routes(vm)).toMatchObject([
      { target: `qmp:${at}/one.sock`, reachable: true },
      { target: `qmp:${at}/two.sock`, reachable: true },
      { target: `pid:${pid}`, reachable: true },
    ])
  })

  it('whose monitor has a client is busy, and says so without a connection', async () => {
    const socket = join(place(), 'q.sock')
    const child = started(QEMU, [...EMPTY, '-qmp', `unix:${socket},server=on,wait=off`])
    const { pid } = child
    await appeared(socket, child)
    const client = connect(socket)
    onTestFinished(() => void client.destroy())
    await new Promise(resolve => client.once('data', resolve))
    const route = routeOf(await vmOf(pid), `qmp:${socket}`)
    expect(route).toMatchObject({ reachable: false, why: expect.stringContaining('has a client') })
    client.destroy()
    const free = (vm: VmProcess): boolean => routeOf(vm, `qmp:${socket}`)?.reachable === true
    await vmOf(pid, free)
  })

  it('that has no guest memory has no route by its process', async () => {
    const { pid } = started(QEMU, EMPTY)
    const vm = await vmOf(pid)
    expect(vm).not.toHaveProperty('memoryBytes')
    expect(routes(vm)).toMatchObject([
      { target: `pid:${pid}`, reachable: false, why: expect.stringContaining('no guest memory') },
    ])
  })

  it('that is stopped answers nobody, which is said', async () => {
    const socket = join(place(), 'q.sock')
    const child = started(QEMU, [...EMPTY, '-qmp', `unix:${socket},server=on,wait=off`])
    const { pid } = child
    await appeared(socket, child)
    process.kill(pid, 'SIGSTOP')
    await expect
      .poll(async () => routeOf(await vmOf(pid), `qmp:${socket}`))
      .toMatchObject({ reachable: false, mend: `Let it go on (kill -CONT ${pid}), then try again` })
    process.kill(pid, 'SIGCONT')
    await vmOf(pid, vm => routeOf(vm, `qmp:${socket}`)?.reachable === true)
  })

  it('that has ended is not found', async () => {
    const child = started(QEMU, [...EMPTY])
    await vmOf(child.pid)
    await ended(child)
    const { vms } = await findVms()
    expect(vms.map(({ pid }) => pid)).not.toContain(child.pid)
  })

  it('that libvirt only asks what it can do is none', async () => {
    const at = join(place(), 'libvirt/qemu/qmp-AB12CD')
    mkdirSync(at, { recursive: true })
    const socket = join(at, 'qmp.monitor')
    const child = started(QEMU, [...EMPTY, '-qmp', `unix:${socket},server=on,wait=off`])
    await appeared(socket, child)
    const { vms } = await findVms()
    expect(vms.map(({ pid }) => pid)).not.toContain(child.pid)
  })

  it('of libvirt has no route by its monitor', async () => {
    const socket = join(place(), 'monitor.sock')
    const key = { 'qom-type': 'secret', id: 'masterKey0', data: 'MDEyMzQ1Njc=' }
    const monitor = `socket,id=m,path=${socket},server=on,wait=off`
    const child = started(QEMU, [
      ...EMPTY,
      ...['-name', 'guest=web,debug-threads=on', '-object', JSON.stringify(key)],
      ...['-chardev', monitor, '-mon', 'chardev=m,mode=control'],
    ])
    const { pid } = child
    await appeared(socket, child)
    const vm = await vmOf(pid)
    expect(vm.libvirt).toEqual({ name: 'web', session: false })
    expect(routes(vm).map(({ target }) => target)).toEqual(['libvirt:web', `pid:${pid}`])
    expect(routes(vm, false)[0]).toMatchObject({
      reachable: false,
      why: 'virsh is not installed',
      mend: expect.stringContaining('libvirt-client'),
    })
  })
})

describeKvm('a VM of our own', () => {
  it('is found by its file of KVM, with its vCPUs', async () => {
    const guest = `guest:idle,memory=${MEMORY},vcpus=3`
    const { pid } = started(process.execPath, [cli, 'watch', guest, '--json'])
    const vm = await vmOf(pid, ({ vcpus }) => vcpus === 3)
    expect(vm).toMatchObject({
      vmm: 'dirtyrate',
      name: guest,
      accelerator: 'kvm',
      vcpus: 3,
      memoryBytes: MEMORY_BYTES,
    })
    expect(routes(vm)).toMatchObject([{ target: `pid:${pid}`, reachable: true }])
  })
})

describe('a process', () => {
  it('that only says that it is a QEMU is none', async () => {
    const child = started('sleep', ['100'], { name: QEMU })
    await sleep(50)
    const { vms } = await findVms()
    expect(vms.map(({ pid }) => pid)).not.toContain(child.pid)
  })

  it('that ends while it is looked at disturbs nothing', async () => {
    started('bash', ['-c', 'while :; do /bin/true; done'])
    for (let look = 0; look < 20; look++) await findVms()
  })
})
