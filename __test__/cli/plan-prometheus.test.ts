/** `dirtyrate plan --prometheus`, beside a real Prometheus that scrapes real figures. */

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openTarget } from '../../ts/index.js'
import { Metrics } from '../../ts/metrics/metrics.js'
import { type MigrationPlan, planMigrations } from '../../ts/prediction/index.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'
import { parseListenAddress } from '../../ts/server/address.js'
import { serveHttp } from '../../ts/server/http.js'
import { dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { MEMORY, MEMORY_BYTES } from '../fixtures/machine.js'
import { served, startedPrometheus } from '../fixtures/prometheus.js'
import { expectForm } from '../fixtures/schema.js'

/** A busy machine needs several times as long as a quiet one. */
vi.setConfig({ testTimeout: 240_000 })

const LINK = ['--bandwidth', '1Gbit/s', '--downtime', '300ms']
const GUESTS = [
  `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY}`,
  `guest:random,pages=8000,rate=40MiB/s,memory=${MEMORY}`,
  `guest:stride,pages=12000,memory=${MEMORY}`,
]

interface HostPlan extends MigrationPlan {
  host: string
  ages?: { newestMs: number; oldestMs: number }
  unplanned: { name: string; reason: string }[]
  commands?: string[]
}

/** Plans from the Prometheus at `url`; its documents, by host. */
async function planned(url: string, ...args: string[]) {
  const ended = await dirtyrate(['plan', '--prometheus', url, ...LINK, ...args, '--json'])
  const lines = ended.stdout.split('\n').filter(line => line !== '')
  for (const line of lines) if (!line.includes('"error"')) expectForm(line, 'migrationPlan')
  return { ...ended, hosts: lines.map(line => JSON.parse(line) as HostPlan) }
}

/** Curves that real VMs have, and a server of their metrics. */
async function servedCurves(): Promise<{ host: string; curves: Map<string, DirtyRateCurve> }> {
  const metrics = new Metrics({ version: '1.2.3', links: [] })
  const curves = new Map<string, DirtyRateCurve>()
  for (const uri of GUESTS) {
    const target = await openTarget(uri)
    try {
      const series = metrics.add(uri)
      series.described(await target.describe())
      series.measured(await target.measureDirtyRate({ window: 50 }), undefined, Date.now())
      const curve = await target.measureDirtyCurve({ windows: [20, 50, 100, 200] })
      curves.set(uri, curve)
      await series.curveMeasured(curve, Date.now())
    } finally {
      await target.close()
    }
  }
  const server = await serveHttp({
    listen: parseListenAddress('127.0.0.1:0', 'listen'),
    access: { hostNames: [], token: undefined },
    routes: new Map([
      [
        '/metrics',
        {
          answer: async () => {
            const { contentType, text } = await metrics.expose('openmetrics')
            return { contentType, body: text }
          },
        },
      ],
    ]),
  })
  onTestFinished(() => server.close())
  return { host: new URL(server.url).host, curves }
}

describeInstalled('prometheus', 'a plan from a Prometheus', () => {
  it('is the one of the same curves, and has each VM of each host', async () => {
    const [first = '', second = ''] = GUESTS
    const every = ['--every', '1s', '--window', '100ms', '--curve-every', '2s']
    const metrics = await served([first, second, ...every, '--windows', '20ms,100ms,200ms'])
    const { host, curves } = await servedCurves()
    const other = new URL(metrics).host
    const { url, above } = await startedPrometheus({
      configuration: `scrape_configs:
  - job_name: dirtyrate
    scrape_interval: 500ms
    static_configs: [{ targets: ['${host}', '${other}'] }]
`,
    })
    await above('count(dirtyrate_curve_may_sweep)', 4)
    const { hosts, status, stderr } = await planned(url)
    expect([status, stderr]).toEqual([0, ''])
    expect(hosts.map(one => one.host).sort()).toEqual([host, other].sort())

    // Regions and granularities are no series, and all else is.
    const own = planMigrations(
      [...curves].map(([name, curve]) => {
        const { regions: _, granularities: __, ...rest } = curve
        return { name, curve: { ...rest, memory: { ...rest.memory, bytes: MEMORY_BYTES } } }
      }),
      { bandwidth: '1Gbit/s', downtime: '300ms' },
    )
    const ofOwn = hosts.find(one => one.host === host)
    const { host: _, ages, unplanned, ...made } = ofOwn as HostPlan
    expect(unplanned).toEqual([])
    expect(made).toMatchObject(JSON.parse(JSON.stringify(own)))
    expect(ages?.oldestMs).toBeGreaterThan(ages?.newestMs ?? 0)
    expect(ages?.oldestMs).toBeLessThan(240_000)

    const { migrations, staying } = hosts.find(one => one.host === other) as HostPlan
    expect([...migrations, ...staying].map(({ name }) => name).sort()).toEqual(
      [first, second].sort(),
    )

    const single = await planned(url, '--host', host, '--match', `target="${first}"`)
    expect(single.hosts.map(one => [one.host, one.migrations.map(({ name }) => name)])).toEqual([
      [host, [first]],
    ])
    // The port of an address may be left out, if it is clear then.
    const both = await planned(url, '--host', '127.0.0.1')
    expect([both.status, both.stdout]).toEqual([2, expect.stringContaining('is each of')])

    const old = await planned(url, '--host', host, '--max-age', '1ms')
    expect(old.status).toBe(1)
    expect(old.hosts[0]?.migrations).toEqual([])
    expect(old.hosts[0]?.unplanned.map(({ name }) => name)).toEqual([...GUESTS].sort())
    expect(old.hosts[0]?.unplanned[0]?.reason).toMatch(/^Its curve is .* old, and --max-age allows/)
  })
})

/** The series of a VM of a host, now, with a curve that is `age` seconds old. */
function samplesOf(
  host: string,
  target: string,
  { age = 30, without = '', more = '' }: { age?: number; without?: string; more?: string } = {},
): string[] {
  const now = Math.floor(Date.now() / 1000)
  const labels = `instance="${host}",target="${target}"${more}`
  const of = (name: string, value: number | string, inner = ''): string =>
    `dirtyrate_${name}{${labels}${inner}} ${value}`
  const windows = [0.1, 1, 10].flatMap(seconds => {
    const window = `,window="${seconds}"`
    const bound = (which: string): string => `${window},bound="${which}"`
    return [
      of('curve_dirty_rate_bytes_per_second', 1e6 / seconds, window),
      of('curve_dirty_rate_bound_bytes_per_second', 1e6 / seconds, bound('low')),
      of('curve_dirty_rate_bound_bytes_per_second', 1.1e6 / seconds, bound('high')),
      of('curve_window_seconds', seconds, window),
    ]
  })
  const all = [
    of('target_up', 1),
    of('curve_confidence_ratio', 0.95),
    of('curve_complete', 1),
    of('curve_timestamp_seconds', now - age),
    of('curve_page_size_bytes', 4096),
    of('curve_memory_bytes', 2 ** 30),
    of('curve_may_sweep', 0),
    ...windows,
  ]
  return all
    .filter(sample => without === '' || !sample.includes(without))
    .map(one => `${one} ${now}`)
}

/** The text of a file of OpenMetrics, whose families have their samples together. */
function openMetrics(samples: readonly string[]): string {
  const nameOf = (sample: string): string => sample.slice(0, sample.indexOf('{'))
  const names = [...new Set(samples.map(nameOf))]
  const lines = names.flatMap(name => [
    `# TYPE ${name} gauge`,
    ...samples.filter(sample => nameOf(sample) === name),
  ])
  return [...lines, '# EOF', ''].join('\n')
}

describeInstalled('promtool', 'the figures of a Prometheus', () => {
  it('that are old, missing or twice there are named', async () => {
    const { url } = await startedPrometheus({
      samples: openMetrics([
        ...samplesOf('a:1', 'libvirt:web'),
        ...samplesOf('a:1', 'libvirt:old', { age: 3600 }),
        ...samplesOf('a:1', 'libvirt:half', {
          without: 'curve_window_seconds{instance="a:1",target="libvirt:half",window="1"',
        }),
        ...samplesOf('a:1', 'libvirt:new', { without: 'curve_' }),
        ...samplesOf('a:1', 'libvirt:blank', { without: 'curve_memory' }),
        ...samplesOf('a:1', 'libvirt:ahead', { age: -600 }),
        ...samplesOf('b:1', 'libvirt:web', { more: ',job="x"' }),
        ...samplesOf('b:1', 'libvirt:web', { more: ',job="y"' }),
        ...samplesOf('c:1', "libvirt:it's; $(x),connect=qemu:///session"),
        ...samplesOf('c:1', 'qmp:/run/a.sock'),
        ...samplesOf('c:1', `libvirt:${'long'.repeat(48)}...`),
        ...samplesOf('d:1', 'libvirt:web'),
        ...samplesOf('d:1', 'libvirt:web,outside=yes'),
      ]),
    })
    const a = await planned(url, '--host', 'a')
    expect(a.status).toBe(1)
    expect(a.hosts[0]?.migrations.map(({ name }) => name)).toEqual(['web'])
    const reasons = Object.fromEntries(
      (a.hosts[0]?.unplanned ?? []).map(({ name, reason }) => [name, reason]),
    )
    expect(reasons).toEqual({
      old: expect.stringMatching(/^Its curve is 60(\.\d)? min old, and --max-age allows 15 min\.$/),
      half: 'The series dirtyrate_curve_window_seconds{window="1"} is missing.',
      new: expect.stringMatching(/^It has no curve: /),
      blank: expect.stringContaining('give the memory with --memory'),
      ahead: expect.stringContaining('newer than the clock of Prometheus'),
    })
    const given = await planned(url, '--host', 'a', '--memory', '1GiB', '--max-age', '2h')
    expect(given.hosts[0]?.migrations.map(({ name }) => name).sort()).toEqual([
      'blank',
      'old',
      'web',
    ])

    const b = await planned(url, '--host', 'b')
    expect([b.status, b.stdout]).toEqual([
      1,
      expect.stringContaining("'libvirt:web' is there twice"),
    ])
    const x = await planned(url, '--host', 'b', '--match', 'job="x"')
    expect([x.status, x.hosts[0]?.migrations.length]).toEqual([0, 1])

    const c = await planned(url, '--host', 'c', '--commands', '--to', 'qemu+ssh://other/system')
    const script = c.hosts[0]?.commands?.join('\n') ?? ''
    expect(script).toContain('--connect=qemu:///session')
    expect(script.match(/virsh .*migrate /g)).toHaveLength(1)
    expect(script).toContain(`'--domain=it'\\''s; $(x)'`)
    expect(script.match(/There is no command for it/g)).toHaveLength(2)

    const d = await planned(url, '--host', 'd')
    expect([d.status, d.stdout]).toEqual([1, expect.stringContaining('are the same VM')])
    const nobody = await planned(url, '--host', 'e')
    expect(nobody.stdout).toContain('no host is called e')
  })

  it('are asked for with credentials, over TLS', async () => {
    const file = folder()
    const key = file('key.pem', '')
    const certificate = join(dirname(key), 'certificate.pem')
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=dirtyrate'],
        ...['-addext', 'subjectAltName=IP:127.0.0.1'],
      ],
      { stdio: 'ignore' },
    )
    const { url } = await startedPrometheus({
      samples: openMetrics(samplesOf('a:1', 'libvirt:web')),
      // The password is "secret".
      web: `tls_server_config: { cert_file: ${certificate}, key_file: ${key} }
basic_auth_users:
  reader: $2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
`,
    })
    const basic = file('basic', 'reader:secret\n')
    writeFileSync(join(dirname(key), 'wrong'), 'reader:wrong\n')
    const trusted = ['--ca-file', certificate]
    const ok = await planned(url, ...trusted, '--basic-auth-file', basic)
    expect([ok.status, ok.hosts.map(({ host }) => host)]).toEqual([0, ['a:1']])
    const untrusted = await planned(url, '--basic-auth-file', basic)
    expect([untrusted.status, untrusted.stdout]).toEqual([1, expect.stringContaining('--ca-file')])
    for (const more of [[], ['--basic-auth-file', join(dirname(key), 'wrong')]]) {
      const refused = await planned(url, ...trusted, ...more)
      expect([refused.status, refused.stdout]).toEqual([1, expect.stringContaining('status 401')])
      expect(refused.stdout).toContain('--basic-auth-file')
      expect(refused.stdout).not.toContain('wrong')
    }
  })
})
