/**
 * Metrics that are pushed by OTLP, as they arrive at a receiver with the protocol's own classes,
 * beside those of a scrape.
 */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { dirtyrate } from '../../fixtures/command.js'
import { samplesOf } from '../../fixtures/exposition.js'
import { describeInstalled } from '../../fixtures/installed-programs.js'
import { MEMORY } from '../../fixtures/machine.js'
import { type Point, startedReceiver } from '../../fixtures/otlp.js'
import { serving } from '../../fixtures/serve-command.js'

/** Measured once, so that afterwards the figures of the target stay as they are. */
const ONCE = [`guest:stride,pages=300,memory=${MEMORY}`, '--every', '1h', '--curve-every', 'never']

const seriesOf = ({ name, labels }: Pick<Point, 'name' | 'labels'>): string =>
  JSON.stringify([name, Object.entries(labels).sort()])
const figuresOf = (points: readonly { name: string; labels: Point['labels']; value: unknown }[]) =>
  new Map(points.map(point => [seriesOf(point), Number(point.value)]))

describeInstalled('python3', 'metrics pushed by OTLP', () => {
  it('are those of a scrape: each series with its value and its type', async () => {
    const receiver = await startedReceiver()
    const words = [...ONCE, '--otlp', receiver.url, '--otlp-every', '1h']
    let scraped = ''
    await serving(
      words,
      async url => {
        const isMeasured = async (): Promise<boolean> => {
          scraped = await (await fetch(url)).text()
          return scraped.includes('dirtyrate_dirty_rate_bytes_per_second{')
        }
        await expect.poll(isMeasured, { timeout: 30_000 }).toBe(true)
      },
      { env: { OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20secret' } },
    )
    // The one push is the one at the end.
    expect(receiver.pushed).toHaveLength(1)
    const [{ path, authorization, resource, points } = expect.fail()] = receiver.pushed
    expect(path).toBe('/v1/metrics')
    expect(authorization).toBe('Bearer secret')
    expect(resource).toMatchObject({ 'service.name': 'dirtyrate' })
    const [pushed, asked] = [figuresOf(points), figuresOf(samplesOf(scraped))]
    expect([...pushed.keys()].sort()).toEqual([...asked.keys()].sort())
    // What the process itself took has grown meanwhile, and is true of the end.
    const ofProcess = /process_|measuring_cpu|period_stretch/
    for (const [series, value] of asked)
      if (!ofProcess.test(series)) expect(pushed.get(series), series).toBe(value)
    const types = new Map(
      [...scraped.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]),
    )
    for (const { name, type, isMonotonic, isCumulative, startMs, timeMs } of points) {
      const isCounter = types.get(name) === 'counter'
      expect([name, type, isMonotonic]).toEqual([name, isCounter ? 'sum' : 'gauge', isCounter])
      expect(isCumulative).toBe(true)
      if (isCounter) expect(startMs).toBeLessThan(timeMs)
    }
  })

  it('that a receiver refuses are said once and counted, and the next ones are sent', async () => {
    const receiver = await startedReceiver(2)
    const { stderr } = await serving(
      [...ONCE, '--otlp', `${receiver.url}/v1/metrics`, '--otlp-every', '1s'],
      async () => {
        await expect.poll(() => receiver.pushed.length, { timeout: 30_000 }).toBeGreaterThan(3)
      },
    )
    const said = stderr.replaceAll(/\s+/g, ' ')
    expect(said.split('cannot be pushed').length - 1).toBe(1)
    expect(said).toContain(`to ${receiver.url}/v1/metrics: it answers with HTTP status 400.`)
    expect(said).toContain(`The metrics are pushed to ${receiver.url}/v1/metrics again.`)
    expect(receiver.pushed.map(({ isTaken }) => isTaken).slice(0, 3)).toEqual([false, false, true])
    const counts = figuresOf(receiver.pushed[3]?.points ?? [])
    const countOf = (result: string): number | undefined =>
      counts.get(JSON.stringify(['dirtyrate_otlp_pushes_total', [['result', result]]]))
    expect(countOf('failed')).toBe(2)
    expect(countOf('accepted')).toBeGreaterThanOrEqual(1)
  })

  it('do not keep the server from its end if the receiver never answers', async () => {
    const receiver = createServer(() => {}).listen(0, '127.0.0.1')
    onTestFinished(() => {
      receiver.closeAllConnections()
      receiver.close()
    })
    await once(receiver, 'listening')
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
    const { status } = await serving([...ONCE, '--otlp', url, '--otlp-every', '1s'], () =>
      once(receiver, 'request'),
    )
    expect(status).toBe(143)
  })

  it.each([
    ['ftp://collector', '--otlp', "'ftp://collector' is not the URL of a server"],
    ['http://me:secret@collector', '--otlp', 'the URL has a password'],
    ['http://collector?token=1', '--otlp', 'has more than a path'],
    ['0s', '--otlp-every', "'0s' is out of range"],
    ['2h', '--otlp-every', "'2h' is out of range"],
  ])('are refused as %s', async (value, option, message) => {
    const { status, stderr } = await dirtyrate(['serve', ...ONCE, option, value])
    expect(status).toBe(2)
    const said = stderr.replaceAll(/\s+/g, ' ')
    expect(said).toContain(`${option}: `)
    expect(said).toContain(message)
    expect(said).not.toContain('secret@')
  })
})
