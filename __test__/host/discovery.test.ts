/** Finds real VMs: domains of a libvirt, a QEMU behind a socket, and processes, each VM once. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { discover, withoutTwice } from '../../ts/host/discovery/discover.js'
import { mayGoOn, processKey } from '../../ts/host/discovery/processes.js'
import type { FoundVm, Source } from '../../ts/host/discovery/sources.js'
import { workload } from '../../ts/index.js'
import { describeWith } from '../fixtures/kvm.js'
import { describeLibvirt, processOf, startLibvirt } from '../fixtures/libvirt.js'
import { ended, started } from '../fixtures/programs.js'
import { startQemu } from '../fixtures/qemu.js'

const signal = new AbortController().signal

/** What each source leads to. Throws what a source rejects with. */
async function found(...sources: Source[]): Promise<FoundVm[][]> {
  const { outcomes } = await discover(sources, signal)
  return outcomes.map(outcome => {
    if ('error' in outcome) throw outcome.error
    return [...outcome.found]
  })
}

function place(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-found-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

describeLibvirt('the domains of a libvirt', () => {
  it('are found by their names, and are their processes', { timeout: 180_000 }, async () => {
    const libvirt = await startLibvirt()
    onTestFinished(() => libvirt.end())
    const guest = workload.stride({ pages: 100 })
    for (const name of ['web-1', 'web-2', 'a name, of many']) await libvirt.start(name, guest)
    const all = { kind: 'libvirt', connect: libvirt.uri, options: {} } as const
    const qemus = { kind: 'pid', vmm: ['qemu'] } as const
    const [domains = [], web = [], processes = []] = await found(
      all,
      { ...all, include: ['web-*', 'a*'], exclude: ['*-2'], options: { outside: 'yes' } },
      qemus,
    )
    expect(domains.map(({ name }) => name).sort()).toEqual(['a name, of many', 'web-1', 'web-2'])
    expect(web.map(({ uri }) => uri.replace(libvirt.uri, 'URI')).sort()).toEqual([
      'libvirt:a name,, of many,connect=URI,outside=yes',
      'libvirt:web-1,connect=URI,outside=yes',
    ])
    const pid = processOf(libvirt, 'web-1')
    expect(domains.find(({ name }) => name === 'web-1')?.vm).toBe(processKey(pid))
    expect(processes.map(({ uri }) => uri)).toContain(`pid:${pid}`)
    const [, , others = []] = withoutTwice([domains, web, processes], [])
    expect(others.map(({ uri }) => uri)).not.toContain(`pid:${pid}`)

    // The socket of libvirt itself is not for others.
    const own = `${libvirt.lib}/qemu/*/monitor.sock`
    const [sockets = []] = await found({ kind: 'qmp', sockets: [own] })
    expect(sockets).toEqual([])

    // A libvirt that does not answer is one failure, and disturbs no other source.
    const gone = { ...all, connect: 'qemu+unix:///system?socket=/nonexistent' }
    const { outcomes } = await discover([gone, qemus], signal)
    expect(outcomes).toMatchObject([{ error: { code: 'ERR_TARGET_ABSENT' } }, { found: {} }])
  })
})

describeWith('qemu-system-x86_64', 'a QEMU', () => {
  it('is found by its socket and by its process, as one VM', { timeout: 60_000 }, async () => {
    const folder = place()
    const path = `${folder}/vm.sock`
    const args = ['-qmp', `unix:${path},server=on,wait=off`, '-name', 'mine']
    const qemu = await startQemu(workload.stride({ pages: 100 }), { mib: 64, args })
    onTestFinished(() => qemu.end())
    // Neither a file, nor a socket at which nobody listens, is a VM.
    writeFileSync(`${folder}/file.sock`, '')
    const [sockets = [], excluded = [], processes = []] = await found(
      { kind: 'qmp', sockets: [`${folder}/*.sock`, `${folder}/v?.sock`] },
      { kind: 'qmp', sockets: [`${folder}/*`], exclude: [`${folder}/vm.*`] },
      { kind: 'pid', command: ['qemu-system-*'], include: ['min?'] },
    )
    const vm = processKey(qemu.qemu.pid)
    expect(sockets).toMatchObject([{ uri: `qmp:${path}`, name: 'mine', vm }])
    expect(excluded).toEqual([])
    expect(processes).toEqual([{ uri: `pid:${qemu.qemu.pid}`, key: vm, vm, name: 'mine' }])
    const { vmOf } = await discover([], signal)
    expect([vmOf(`qmp:${path}`), vmOf(`pid:${qemu.qemu.pid}`)]).toEqual([vm, vm])
    expect(vmOf('guest:idle')).toBeUndefined()
    // This is not an address. The target itself says so when it is opened.
    expect(vmOf('qmp:127.0.0.1:0')).toBeUndefined()
  })
})

describe('discovery', () => {
  it('finds the socket of a process that is not known to be a VM', async () => {
    const path = `${place()}/x.sock`
    const server = createServer().listen(path)
    onTestFinished(() => void server.close())
    const [sockets = []] = await found({ kind: 'qmp', sockets: [path] })
    expect(sockets).toMatchObject([{ uri: `qmp:${path}`, vm: processKey(process.pid) }])
  })

  it('finds processes by the name of their program, and knows when one is another', async () => {
    const child = started('sleep', ['60'])
    const [sleeping = []] = await found({ kind: 'pid', command: ['slee?'] })
    const mine = sleeping.find(({ uri }) => uri === `pid:${child.pid}`)
    expect(mine).toMatchObject({ vm: processKey(child.pid), name: undefined })
    expect(mayGoOn({ vm: processKey(child.pid) })).toBe(true)
    expect(mayGoOn({ vm: `pid:${child.pid}@1` })).toBe(false)
    const key = processKey(child.pid)
    await ended(child)
    expect(mayGoOn({ vm: key })).toBe(false)
    expect(mayGoOn({ vm: 'qmp:/x 1:2' })).toBe(true)
  })
})
