/** `plan --prometheus` and a Prometheus that is none, or that means harm. */

import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { PrometheusClient } from '../../ts/cli/plan/prometheus/client.js'
import { dirtyrate } from '../fixtures/command.js'

const LIMITS = { bytes: 2 ** 20, answerMs: 1_000 }

async function answering(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

const json = (result: readonly unknown[], more: object = {}): string =>
  JSON.stringify({ status: 'success', data: { resultType: 'vector', result }, ...more })

it.each<{ what: string; listener: RequestListener; why: string }>([
  {
    what: 'never ends its answer',
    listener: (_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(2 ** 16, ' ')));
        response.once('drain', more)
      }
      more()
    },
    why: 'answers with more than 1 MiB',
  },
  {
    what: 'sends its answer byte by byte',
    listener: (_, response) => {
      const timer = setInterval(() => response.write(' '), 20)
      response.on('close', () => clearInterval(timer))
    },
    why: 'did not answer within 1 s',
  },
  { what: 'says nothing', listener: () => {}, why: 'did not answer within 1 s' },
  {
    what: 'ends within its answer',
    listener: (_, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('{', () => response.destroy())
    },
    why: ': the answer is cut off',
  },
  {
    what: 'sends its client somewhere else',
    listener: (_, response) => response.writeHead(302, { location: 'http://evil/' }).end(),
    why: 'redirects to http://evil/',
  },
  {
    what: 'nests without an end',
    listener: (_, response) => response.end('['.repeat(2 ** 19)),
    why: 'no JSON',
  },
])('an answer of one that $what is an error that says so', async ({ listener, why }) => {
  const url = new URL(await answering(listener))
  const { signal } = new AbortController()
  const client = new PrometheusClient(
    { url, authorization: undefined, ca: undefined },
    signal,
    LIMITS,
  )
  const error = await client.query('up').then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toMatchObject({ code: 'ERR_PROMETHEUS', message: expect.stringContaining(why) })
  expect((error as Error).message).not.toContain('()')
})

it('warnings without an end are said a few times, and move no cursor', async () => {
  const warnings = Array.from(
    { length: 50_000 },
    (_, at) => `${at}\u001b[2J\u202e${'x'.repeat(900)}`,
  )
  const url = await answering((_, response) => response.end(json([], { warnings })))
  const { status, stderr } = await dirtyrate([
    ...['plan', '--prometheus', url, '--bandwidth', '10Gbit/s', '--downtime', '300ms'],
  ])
  expect(status).toBe(1)
  expect(stderr).toContain('Prometheus warns 49995 more times.')
  expect(stderr.length).toBeLessThan(10_000)
  for (const character of ['\u001b', '\u202e']) expect(stderr).not.toContain(character)
})
