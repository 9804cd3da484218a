/**
 * `dirtyrate serve` under hostile clients: nothing is let in, nothing leaks, and the VM is measured
 * on. With DIRTYRATE_TEST_FULL=1 for minutes.
 */

import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { get } from 'node:http'
import { connect, type Socket } from 'node:net'
import process from 'node:process'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { expect, it, onTestFinished } from 'vitest'
import {
  type Attack,
  anyFrameAttack,
  anyHandshakeAttack,
  anyHttpAttack,
  attack,
} from '../fixtures/attacks.js'
import { folder } from '../fixtures/elf.js'
import { samplesOf, valueIn } from '../fixtures/exposition.js'
import { growth, type Sample } from '../fixtures/growth.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { serving } from '../fixtures/serve-command.js'

const full = process.env.DIRTYRATE_TEST_FULL === '1'
const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY}`
const TOKEN = '00112233445566778899aabbccddeeff'
const FAST = ['--every', '200ms', '--window', '100ms', '--curve-every', 'never']

/** Attacks at once. */
const TOGETHER = 20
const ROUNDS = full ? 400 : 15
/** A connection that is kept for ever takes more: a socket of Node alone has several kB. */
const LEAK_BYTES = 1024

/** `serve` with a token, its port, its process, and what it says to those who have the token. */
async function besieged(
  use: (server: {
    url: string
    port: number
    pid: number
    measured: () => Promise<number>
  }) => Promise<unknown>,
): Promise<void> {
  const file = folder()('token', TOKEN)
  const measured = (url: string) => async (): Promise<number> => {
    const samples = samplesOf(await scrape(url))
    return valueIn(samples, 'dirtyrate_measurements_total', { result: 'complete' }) ?? 0
  }
  await serving([guest, ...FAST, '--token-file', file], async url => {
    await expect.poll(measured(url), { timeout: 20_000 }).toBeGreaterThan(0)
    const port = Number(new URL(url).port)
    await use({ url, port, pid: listener(port), measured: measured(url) })
  })
}

function scrape(url: string): Promise<string> {
  const headers = { Authorization: `Bearer ${TOKEN}` }
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false }, response => resolve(text(response))).on('error', reject)
  })
}

/** The process that listens at a port of the loopback address. */
function listener(port: number): number {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const inode = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .find(fields => fields[1] === local && fields[3] === '0A')?.[9]
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name)))
    if (descriptors(Number(pid)).includes(`socket:[${inode}]`)) return Number(pid)
  throw new Error(`nobody listens at ${port}`)
}

function descriptors(pid: number): string[] {
  try {
    const folder = `/proc/${pid}/fd`
    return readdirSync(folder).map(fd => readlinkOr(`${folder}/${fd}`))
  } catch {
    return []
  }
}

function readlinkOr(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

const rss = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

/** Nothing that only those may have who have the token. */
function expectNothing(answer: string): void {
  expect(answer).not.toContain('dirtyrate_build_info')
  expect(answer).not.toContain('"ticket"')
  expect(answer).not.toMatch(/^HTTP\/1\.1 101 /m)
  expect(answer).not.toContain('"hello"')
}

/** Attacks again and again, and looks each time at what comes back and at what is held. */
async function besiege(
  server: { port: number; pid: number; measured: () => Promise<number> },
  attacks: fc.Arbitrary<Attack>,
  look: (answer: string) => void,
): Promise<void> {
  const before = { measured: await server.measured(), fds: descriptors(server.pid).length }
  const held: Sample[] = []
  let done = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(attacks, { minLength: TOGETHER, maxLength: TOGETHER }),
      async together => {
        for (const answer of await Promise.all(together.map(one => attack(server.port, one))))
          look(answer)
        done += together.length
        held.push({ done, value: rss(server.pid) })
      },
    ),
    // A smaller attack of the same kind takes long to find.
    { numRuns: ROUNDS, endOnFailure: true },
  )
  await expect
    .poll(() => descriptors(server.pid).length, { timeout: 20_000 })
    .toBeLessThanOrEqual(before.fds)
  await expect.poll(server.measured, { timeout: 20_000 }).toBeGreaterThan(before.measured)
  if (full) expect(growth(held)).toBeLessThan(LEAK_BYTES)
}

describeKvm('hostile clients', () => {
  it('get nothing by HTTP', async () => {
    await besieged(async server => {
      const { host } = new URL(server.url)
      await besiege(server, anyHttpAttack(TOKEN, host), expectNothing)
    })
  })

  it('open no WebSocket', async () => {
    await besieged(async server => {
      await besiege(server, anyHandshakeAttack(TOKEN, server.url), expectNothing)
    })
  })

  it('with the token do no harm by what they send over a WebSocket', async () => {
    await besieged(async server => {
      await besiege(server, anyFrameAttack(TOKEN, server.url), answer => {
        expect(answer).toMatch(/^(HTTP\/1\.1 (101|503) |$)/)
      })
    })
  })

  it('that are a thousand, and say nothing, or read nothing, keep no others out for long', async () => {
    await besieged(async ({ url, port, pid, measured }) => {
      const before = { measured: await measured(), fds: descriptors(pid).length }
      const sockets: Socket[] = []
      onTestFinished(() => {
        for (const socket of sockets) socket.destroy()
      })
      const asks = [
        '',
        'GET /metrics HTTP/1.1\r\n',
        `GET /metrics HTTP/1.1\r\nHost: ${new URL(url).host}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`,
      ]
      for (let at = 0; at < 1000; at++) {
        const socket = connect(port, '127.0.0.1')
        socket.on('error', () => {})
        socket.pause()
        socket.write(asks[at % asks.length] ?? '')
        sockets.push(socket)
      }
      await Promise.all(
        sockets.map(socket => Promise.race([once(socket, 'connect'), closed(socket)])),
      )
      expect(descriptors(pid).length).toBeLessThanOrEqual(before.fds + 256)
      // The silent ones are disconnected after five seconds.
      await expect
        .poll(() => measured().catch(() => 0), { timeout: 30_000, interval: 500 })
        .toBeGreaterThan(before.measured)
      for (const socket of sockets) socket.destroy()
      await expect
        .poll(() => descriptors(pid).length, { timeout: 20_000 })
        .toBeLessThanOrEqual(before.fds)
    })
  })
})

const closed = (socket: Socket): Promise<void> =>
  new Promise(resolve => socket.once('close', () => resolve()))
