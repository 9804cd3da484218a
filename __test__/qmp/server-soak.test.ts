/**
 * A hundred clients that connect, measure and vanish at random, some of them in the middle of
 * something: the server holds nothing for those that are gone, and answers all along.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { growth, type Sample } from '../fixtures/growth.js'
import { describeKvm, full } from '../fixtures/kvm.js'
import { RawClient } from '../fixtures/raw-client.js'

const CLIENTS = 100
const ROUNDS = full ? 60 : 10
const ROUND_MS = full ? 1000 : 500
/** Half of what has to be noticed, in bytes for each client: the other half is noise. */
const LIMIT = 512

interface Held {
  heap: number
  rss: number
  descriptors: number
  threads: number
}

const NEGOTIATION = '{"execute":"qmp_capabilities"}'
const CALC = JSON.stringify({
  execute: 'calc-dirty-rate',
  arguments: { 'calc-time': 50, 'calc-time-unit': 'millisecond', mode: 'dirty-bitmap' },
})
const QUERY = '{"execute":"query-dirty-rate"}'

/** What a client may send before it vanishes. */
const MESSAGES = [
  '',
  NEGOTIATION,
  NEGOTIATION + CALC + QUERY.repeat(5),
  `${NEGOTIATION}${CALC}{"execute":"human-monitor-comm`,
  NEGOTIATION + '{"execute":"query-qmp-schema"}'.repeat(50),
  `${NEGOTIATION}]]}{{{"nope" ${QUERY}`,
  `{"${'x'.repeat(100_000)}`,
  `{"${'x'.repeat(2_000_000)}`,
]

const some = (below: number): number => Math.floor(Math.random() * below)

/** A client that vanishes at some time. */
async function visit(path: string): Promise<void> {
  const socket: Socket = connect({ path })
  // The queue of the socket may be full, and a bad client is hung up on.
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
  // Every fourth never reads.
  if (some(4) > 0) socket.on('data', () => {})
  socket.write(MESSAGES[some(MESSAGES.length)] ?? '')
  await Promise.race([closed, sleep(some(20))])
  if (some(2) === 0) socket.end()
  await Promise.race([closed, sleep(some(5))])
  socket.destroy()
}

async function held(child: ChildProcess): Promise<Held> {
  child.send('held')
  const [answer] = await once(child, 'message')
  return answer as Held
}

describeKvm('a hundred clients at random', () => {
  it(`for ${(ROUNDS * ROUND_MS) / 1000} s leave nothing behind`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-soak-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const path = join(folder, 'qmp')
    const program = fileURLToPath(new URL('../fixtures/qmp-soak.mjs', import.meta.url))
    const child = fork(program, [path], { execArgv: ['--expose-gc'] })
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    await once(child, 'message')

    const seen: Held[] = []
    const heap: Sample[] = []
    let done = 0
    const steady = await RawClient.negotiated(path)
    for (let round = 0; round < ROUNDS; round++) {
      const until = performance.now() + ROUND_MS
      await Promise.all([
        ...Array.from({ length: CLIENTS }, async () => {
          for (; performance.now() < until; done++) await visit(path)
        }),
        (async () => {
          while (performance.now() < until)
            expect(await steady.ask('{"execute":"query-status"}')).toContain('"running"')
        })(),
      ])
      const now = await held(child)
      seen.push(now)
      heap.push({ done, value: now.heap })
    }

    const [early, late] = [seen[1], seen.at(-1)] as [Held, Held]
    expect(done).toBeGreaterThan(CLIENTS * ROUNDS)
    expect(late.descriptors).toBeLessThanOrEqual(early.descriptors)
    expect(late.threads).toBeLessThanOrEqual(early.threads)
    expect(growth(heap)).toBeLessThan(LIMIT)
    steady.socket.destroy()
    await held(child)
    // The kernel needs a moment to forget connections that nobody has accepted.
    const open = (): string[] =>
      readFileSync('/proc/net/unix', 'utf8')
        .split('\n')
        .filter(line => line.endsWith(path))
    while (open().length > 1) await sleep(20)
    child.send('end')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(existsSync(path)).toBe(false)
  })
})
