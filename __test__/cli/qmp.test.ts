/** `dirtyrate qmp` as a program: what it prints, how it ends, and what it leaves. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { dirtyrate, type Ended } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { PlayedQemu } from '../fixtures/played-qemu.js'
import { RawClient } from '../fixtures/raw-client.js'

const guest = `guest:stride,pages=1000,rate=10MiB/s,memory=${MEMORY}`

function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-qmp-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'vm.qmp')
}

/** Serves until `use` has ended. The log says what the core does. */
function serving(
  socket: string,
  use: (kill: (signal: NodeJS.Signals) => void) => void,
  ...more: string[]
): Promise<Ended> {
  let isUsed = false
  return dirtyrate(['qmp', '--socket', socket, guest, '--log-level', 'debug', ...more], {
    onStderr: (text, kill) => {
      if (isUsed || !text.includes('Serving')) return
      isUsed = true
      use(kill)
    },
  })
}

describeKvm('dirtyrate qmp', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends with %s, also in a measurement, and leaves nothing', async (signal, code) => {
    const socket = socketPath()
    const { status, stdout, stderr } = await serving(socket, async kill => {
      const client = await RawClient.negotiated(socket)
      await client.ask(
        '{"execute":"calc-dirty-rate","arguments":{"calc-time":60,"mode":"dirty-bitmap"}}',
      )
      kill(signal)
    })
    expect({ status, stdout }).toEqual({ status: code, stdout: '' })
    expect(existsSync(socket)).toBe(false)
    expect(stderr).toContain(`Serving ${guest}`)
    expect(stderr).toMatch(
      /dirtyrate: interrupted\nThe server has ended, and its socket is removed\.\n$/,
    )
    // The measurement began, and ended before the process did.
    expect(stderr).toMatch(/measurement began (.|\n)*measurement ended early /)
  })

  it('says that a QEMU goes on with the measurement in which it was interrupted', async () => {
    const qemu = await PlayedQemu.start()
    const socket = socketPath()
    let isUsed = false
    const { status, stderr } = await dirtyrate(['qmp', '--socket', socket, `qmp:${qemu.path}`], {
      onStderr: async (text, kill) => {
        if (isUsed || !text.includes('Serving')) return
        isUsed = true
        const client = await RawClient.negotiated(socket)
        await client.ask('{"execute":"calc-dirty-rate","arguments":{"calc-time":60}}')
        await expect.poll(() => qemu.jobs).toHaveLength(1)
        kill('SIGINT')
      },
    })
    expect(status).toBe(130)
    expect(stderr).toMatch(/QEMU goes on measuring until its window ends, in (60|5\d) s\.\n$/)
  })

  it('ends with what a client asks for, and says so', async () => {
    const socket = socketPath()
    const { status, stdout, stderr } = await serving(
      socket,
      async () => (await RawClient.negotiated(socket)).send('{"execute":"quit"}'),
      '--json',
    )
    expect(status).toBe(0)
    const document = JSON.parse(stdout)
    expect(document).toMatchObject({ schemaVersion: 1, socket })
    expect(document.commands).toContain('quit')
    expect(stderr).toMatch(/\nA client has ended the virtual machine\.\n$/)
    expect(existsSync(socket)).toBe(false)
  })

  it('refuses a socket that another program serves', async () => {
    const socket = socketPath()
    const other = createServer().listen(socket)
    onTestFinished(() => {
      other.close()
    })
    const { status, stderr } = await dirtyrate(['qmp', '--socket', socket, guest])
    expect(status).toBe(2)
    expect(stderr).toContain(`dirtyrate: ${socket}: another program uses this socket\n`)
  })
})

describe('dirtyrate qmp, before it opens its target,', () => {
  it('refuses a path that no socket can have', async () => {
    const { status, stderr } = await dirtyrate(['qmp', '--socket', 'x'.repeat(108), guest])
    expect(status).toBe(2)
    expect(stderr).toMatch(/--socket: 'x+\.\.\.x+' has 108 bytes, and .* at most 107\n/)
  })

  it('needs to know where', async () => {
    const { status, stderr } = await dirtyrate(['qmp', guest])
    expect(status).toBe(2)
    expect(stderr).toContain("required option '--socket <path>' not specified")
  })
})
