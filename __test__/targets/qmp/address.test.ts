/** What stands behind `qmp:`, and sockets that are libvirt's. */

import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openTarget } from '../../../ts/index.js'
import { libvirtDomainOf } from '../../../ts/targets/qemu/libvirt-files.js'
import { formatAddress, isLocal, parseAddress } from '../../../ts/targets/qmp/address.js'

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-qmp-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

describe('an address', () => {
  it.each([
    ['/run/vm.sock', { path: '/run/vm.sock' }],
    ['vm.sock', { path: resolve('vm.sock') }],
    ['127.0.0.1:4444', { host: '127.0.0.1', port: 4444 }],
    ['host.example:1', { host: 'host.example', port: 1 }],
    ['[::1]:65535', { host: '::1', port: 65_535 }],
    ['/run/a:1', { path: '/run/a:1' }],
    ['dir/a:1', { path: resolve('dir/a:1') }],
    ['a:1b', { path: resolve('a:1b') }],
  ])('%s is %j', (name, address) => {
    expect(parseAddress(name)).toEqual(address)
    expect(parseAddress(formatAddress(parseAddress(name)))).toEqual(address)
  })

  it.each([':4444', 'host:0', 'host:65536', 'host:99999999999999999999'])('is not %s', name => {
    expect(() => parseAddress(name)).toThrow('is neither a socket nor HOST:PORT')
  })

  it('that is a file is a path, also if it looks like a port', () => {
    const before = process.cwd()
    process.chdir(scratch())
    onTestFinished(() => process.chdir(before))
    writeFileSync('host:4444', '')
    expect(parseAddress('host:4444')).toEqual({ path: resolve('host:4444') })
  })

  it('is the same after it was written and read, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary-ascii' }), name => {
        let address: ReturnType<typeof parseAddress>
        try {
          address = parseAddress(name)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_ARGUMENT' })
          return
        }
        expect(parseAddress(formatAddress(address))).toEqual(address)
      }),
    )
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()),
        fc.integer({ min: 1, max: 65_535 }),
        (host, port) => {
          const written = formatAddress({ host, port })
          expect(parseAddress(written)).toEqual({ host, port })
        },
      ),
    )
  })

  it('is of this host if it is a path or a loopback', () => {
    expect(isLocal({ path: '/x' })).toBe(true)
    for (const host of ['127.0.0.1', '127.8.9.10', '::1', 'localhost'])
      expect(isLocal({ host, port: 1 })).toBe(true)
    for (const host of ['10.0.0.1', '128.0.0.1', 'localhost.example', '::2'])
      expect(isLocal({ host, port: 1 })).toBe(false)
  })
})

describe("a socket of libvirt's", () => {
  /** The state of a domain, as libvirt keeps it, and the socket that it names. */
  function domain(name: string, monitor: string): { states: string[]; path: string } {
    const states = scratch()
    const xml = `<domstatus>\n  <monitor path='${monitor.replaceAll('&', '&amp;').replaceAll("'", '&apos;')}' type='unix'/>\n</domstatus>\n`
    writeFileSync(join(states, `${name}.xml`), xml)
    return { states: [states], path: monitor }
  }

  it('is recognised by the state that libvirt keeps, under any name', () => {
    const folder = scratch()
    const socket = join(folder, "it's & more.sock")
    writeFileSync(socket, '')
    symlinkSync(socket, join(folder, 'link'))
    const { states } = domain('web.1', socket)
    expect(libvirtDomainOf(socket, states)).toBe('web.1')
    expect(libvirtDomainOf(join(folder, 'link'), states)).toBe('web.1')
    expect(libvirtDomainOf(join(folder, 'other'), states)).toBeUndefined()
    expect(libvirtDomainOf(socket, ['/nonexistent'])).toBeUndefined()
  })

  it('is recognised by its folder, for users who may not read the state', () => {
    const of = (path: string): string | undefined => libvirtDomainOf(path, [])
    expect(of('/var/lib/libvirt/qemu/domain-3-my-vm/monitor.sock')).toBe('my-vm')
    expect(of('/home/u/.config/libvirt/qemu/lib/domain-12-x/monitor.sock')).toBe('x')
    // The name was cut off after 20 characters, so that the id is better.
    expect(of(`/var/lib/libvirt/qemu/domain-15-${'n'.repeat(20)}/monitor.sock`)).toBe('15')
    expect(of('/var/lib/libvirt/qemu/domain-3-my-vm/agent.sock')).toBeUndefined()
    expect(of('/var/lib/libvirt/qemu/channel/monitor.sock')).toBeUndefined()
    expect(of('/srv/domain-3-my-vm/monitor.sock')).toBeUndefined()
  })

  it('is never opened', async () => {
    const path = join(scratch(), 'libvirt/qemu/domain-7-db/monitor.sock')
    mkdirSync(dirname(path), { recursive: true })
    let clients = 0
    const server = createServer(() => clients++).listen(path)
    onTestFinished(() => {
      server.close()
    })
    await once(server, 'listening')
    for (const options of ['', ',force=on']) {
      await expect(openTarget(`qmp:${path}${options}`)).rejects.toMatchObject({
        code: 'ERR_LIBVIRT_SOCKET',
        hint: expect.stringMatching(/^Use libvirt:db\./),
        details: { domain: 'db' },
      })
    }
    expect(clients).toBe(0)
  })
})

it('a socket is proposed as a QMP monitor, and not as a kernel', async () => {
  const path = join(scratch(), 'vm.sock')
  const server = createServer().listen(path)
  onTestFinished(() => {
    server.close()
  })
  await once(server, 'listening')
  await expect(openTarget(path)).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
    hint: expect.stringContaining(`Did you mean 'qmp:${path}'?`),
  })
})
