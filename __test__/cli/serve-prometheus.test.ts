/** Prometheus itself: it lints the metrics, and a server of it scrapes `dirtyrate serve`. */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, it, onTestFinished } from 'vitest'
import { cli } from '../fixtures/command.js'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { MEMORY } from '../fixtures/machine.js'

const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY},log=ring,vcpus=2`
const TOKEN = '00112233445566778899aabbccddeeff'

/** Starts a program that ends with the test. */
function child(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): ChildProcessWithoutNullStreams {
  const started = spawn(program, args, {
    env: { ...process.env, ...env },
  })
  onTestFinished(async () => {
    if (started.exitCode !== null || started.signalCode !== null) return
    started.kill('SIGTERM')
    await once(started, 'close')
  })
  return started
}

/** The URL of the metrics of a guest that is served with a token. */
async function served(): Promise<string> {
  const every = ['--every', '300ms', '--window', '100ms', '--windows', '20ms,50ms']
  const links = ['--bandwidth', '10Gbit/s,1Mbit/s', '--downtime', '300ms']
  const server = child(
    process.execPath,
    [cli, 'serve', guest, '--listen', '127.0.0.1:0', ...every, ...links],
    { DIRTYRATE_TOKEN: TOKEN },
  )
  let output = ''
  for await (const piece of server.stderr) {
    output += piece
    const [url] = /http:\S+\/metrics/.exec(output) ?? []
    if (url === undefined) continue
    server.stderr.resume()
    return url
  }
  throw new Error(output)
}

/** A port that nobody has, for a program that cannot choose one itself. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

const headers = { authorization: `Bearer ${TOKEN}` }

describeInstalled('promtool', 'promtool', () => {
  it('finds nothing to criticise in the metrics', async () => {
    const url = await served()
    let metrics = ''
    await expect
      .poll(
        async () => {
          metrics = await (await fetch(url, { headers })).text()
          return metrics
        },
        { timeout: 30_000 },
      )
      .toContain('dirtyrate_prediction_total_seconds{')
    const promtool = child('promtool', ['check', 'metrics'])
    promtool.stdin.end(metrics)
    const said = Promise.all([text(promtool.stdout), text(promtool.stderr)])
    const [status] = await once(promtool, 'close')
    expect({ status, said: await said }).toEqual({ status: 0, said: ['', ''] })
  })
})

describeInstalled('prometheus', 'a Prometheus', () => {
  it('scrapes as OpenMetrics, and computes the rate that the guest has', async () => {
    const url = new URL(await served())
    const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-prometheus-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const configuration = join(folder, 'prometheus.yml')
    writeFileSync(
      configuration,
      `scrape_configs:
  - job_name: dirtyrate
    scrape_interval: 500ms
    authorization: { credentials: '${TOKEN}' }
    static_configs: [{ targets: ['${url.host}'] }]
`,
    )
    const address = `127.0.0.1:${await freePort()}`
    const prometheus = child('prometheus', [
      `--config.file=${configuration}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
    ])
    let log = ''
    prometheus.stderr.on('data', piece => {
      log += piece
    })
    const ask = async (query: string): Promise<Series[]> => {
      const parameters = new URLSearchParams({ query })
      const response = await fetch(`http://${address}/api/v1/query?${parameters}`).catch(() => {})
      const body = (await response?.json()) as { data?: { result?: Series[] } } | undefined
      return body?.data?.result ?? []
    }
    const numberOf = async (query: string): Promise<number> =>
      Number((await ask(query))[0]?.value[1] ?? Number.NaN)
    await expect
      .poll(() => numberOf('count_over_time(dirtyrate_target_up[1m])'), { timeout: 45_000 })
      .toBeGreaterThan(8)
      .catch((error: unknown) => {
        throw new Error(log, { cause: error })
      })
    expect(await numberOf('up')).toBe(1)
    const at = await numberOf('timestamp(dirtyrate_target_up)')
    // All three are from one scrape, so that the guest's own count bounds what was measured.
    const [dirty, low, high] = await Promise.all(
      [
        'dirtyrate_dirty_bytes_total',
        'dirtyrate_truth_bytes_total{bound="low"}',
        'dirtyrate_truth_bytes_total{bound="high"}',
      ].map(query => numberOf(`${query} @ ${at}`)),
    )
    expect(low).toBeGreaterThan(0)
    expect(dirty).toBeGreaterThanOrEqual(low as number)
    expect(dirty).toBeLessThanOrEqual(high as number)
    const verdicts = await ask('dirtyrate_prediction_verdict == 1')
    expect(
      verdicts.map(({ metric: { bandwidth, verdict } }) => [bandwidth, verdict]).sort(),
    ).toEqual([
      ['10Gbit/s', 'converges'],
      ['1Mbit/s', 'stalls'],
    ])
    const metadata = await fetch(`http://${address}/api/v1/metadata?metric=dirtyrate_dirty_bytes`)
    // Only in OpenMetrics is a counter called without its ending.
    expect(await metadata.json()).toMatchObject({
      data: { dirtyrate_dirty_bytes: [{ type: 'counter' }] },
    })
  })
})

interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}
