/** `dirtyrate predict`, as a program, on saved curves. */

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { MigrationPrediction } from '../../ts/prediction/index.js'
import { dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { expectForm } from '../fixtures/schema.js'
import { bandwidthOf, published, publishedFile } from '../prediction/published.js'

const point = (seconds: number, bytesPerSecond: number) => ({
  windowNs: seconds * 1e9,
  bytesPerSecond,
  interval: { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 },
})
/** A guest that dirties 100 MB/s, without end, in 1 GiB. */
const curve = (): string =>
  folder()(
    'curve.json',
    JSON.stringify({
      schemaVersion: 1,
      mode: 'dirty-bitmap',
      pageSize: 4096,
      points: [0.1, 1, 10].map(seconds => point(seconds, 100e6)),
      granularities: [
        { granuleBytes: 4096, dirtyGranules: [2441, 24414, 244140], extents: [10, 100, 1000] },
        { granuleBytes: 65536, dirtyGranules: [200, 2000, 16000], extents: [1, 2, 3] },
      ],
      memory: { bytes: 2 ** 30 },
      complete: true,
      warnings: [],
    }),
  )
const predict = (...args: string[]) => dirtyrate(['predict', ...args])
const migrate = async (bandwidth: string, downtime: string, ...args: string[]) =>
  predict('--curve', curve(), '--bandwidth', bandwidth, '--downtime', downtime, ...args)

describe('the published table', () => {
  const { downtimeMs, byBandwidthGbps } = published.publishedEstimatesSeconds
  // One process for each bandwidth, by a matrix, and one process for a cell of its own.
  it.each(Object.entries(byBandwidthGbps))('%s Gbps', async (gbps, seconds) => {
    const limits = downtimeMs.map(ms => (ms === null ? 'unlimited' : `${ms}ms`))
    const { stdout } = await predict(
      ...['--curve', publishedFile, '--profile', 'gudkov-2023', '--matrix', '--json'],
      ...['--bandwidth', `${bandwidthOf(gbps)},${bandwidthOf(gbps)}`],
      ...['--downtime', limits.join(',')],
    )
    const { matrix } = JSON.parse(stdout) as { matrix: { totalMs: { value: number | null } }[][] }
    const found = matrix.map(([cell]) => cell?.totalMs.value ?? null)
    expect(found).toEqual(seconds.map(second => (second === null ? null : second * 1000)))
  })

  it('5 Gbps and 125 ms as one prediction', async () => {
    const { stdout, status } = await predict(
      ...['--curve', publishedFile, '--profile', 'gudkov-2023', '--json'],
      ...['--bandwidth', '5Gbit/s', '--downtime', '125ms'],
    )
    expect(status).toBe(0)
    expect((JSON.parse(stdout) as MigrationPrediction).totalMs.value).toBe(48_000)
  })
})

describe('a prediction', () => {
  it.each([
    ['400MB/s', 'converges', 0],
    ['50MB/s', 'stalls', 10],
    ['100MB/s', 'uncertain', 11],
  ])('at %s: %s, and status %i with --exit-code', async (bandwidth, verdict, status) => {
    const [with_, without] = await Promise.all([
      migrate(bandwidth, '300ms', '--exit-code'),
      migrate(bandwidth, '300ms'),
    ])
    expect([with_.status, without.status]).toEqual([status, 0])
    expect(without.stdout.split('\n')[0]).toBe(verdict)
  })

  it('fits the schema', async () => {
    const all = await Promise.all([
      migrate('400MB/s', '300ms', '--json'),
      migrate('50MB/s', '300ms', '--json', '--link-bandwidth', '1GB/s'),
      migrate('100MB/s', '300ms', '--json'),
    ])
    for (const { stdout } of all) expectForm(stdout, 'prediction')
    expectForm((await migrate('400MB/s', '300ms', '--matrix', '--json')).stdout, 'predictionMatrix')
    const snapshot = ['--curve', curve(), '--bandwidth', '1GB/s', '--snapshot', '1s', '--json']
    expectForm((await predict(...snapshot)).stdout, 'snapshotPrediction')
  })

  it('has the warnings of its curve', async () => {
    const known = { code: 'NOT_STATIONARY', message: 'the guest changed\n\u001b[2Jat noon' }
    const given = JSON.parse(readFileSync(curve(), 'utf8'))
    const warnings = [known, { code: 'OF_ANOTHER_VERSION', message: 'x' }, 'y']
    const file = folder()('warned.json', JSON.stringify({ ...given, warnings }))
    const args = ['--curve', file, '--bandwidth', '400MB/s', '--downtime', '300ms']
    const { stdout } = await predict(...args, '--json')
    expectForm(stdout, 'prediction')
    expect(JSON.parse(stdout).warnings).toEqual([known])
    const text = (await predict(...args, '--quiet')).stdout
    expect(text).toMatch(/^warning +NOT_STATIONARY: the guest changed\\n\\x1b\[2Jat noon$/m)
  })

  it('has colours in its matrix if they are wanted', async () => {
    const args = ['predict', '--curve', curve(), '--matrix']
    const options = ['--bandwidth', '50MB/s,400MB/s', '--downtime', '300ms']
    const coloured = await dirtyrate([...args, ...options], { env: { FORCE_COLOR: '1' } })
    const plain = await dirtyrate([...args, ...options], { env: { NO_COLOR: '1' } })
    expect(coloured.stdout).toContain('\x1b[31mstalls')
    expect(plain.stdout).not.toContain('\x1b')
    expect(plain.stdout).toContain('stalls')
  })

  it('of a snapshot has the measured granularity', async () => {
    const { stdout } = await predict(
      ...['--curve', curve(), '--bandwidth', '1GB/s', '--snapshot', '1s'],
      ...['--granularity', '64KiB', '--json'],
    )
    const { snapshot } = JSON.parse(stdout)
    expect(snapshot.bytes.value).toBe(2000 * 65536)
    expect(snapshot.extents.value).toBe(2)
    expect(snapshot.pauseMs.value).toBeCloseTo((2000 * 65536) / 1e6, 6)
  })
})

describeKvm('a prediction of a VM that runs', () => {
  const windows = ['--windows', '50ms,100ms,200ms']

  it('converges for a guest that writes nothing', async () => {
    const { stdout, status } = await predict(
      ...['guest:idle,memory=64MiB', '--bandwidth', '1Gbit/s', '--downtime', '300ms'],
      ...[...windows, '--exit-code', '--json'],
    )
    expect(status).toBe(0)
    expectForm(stdout, 'prediction')
    const { verdict, regions } = JSON.parse(stdout) as MigrationPrediction
    expect({ verdict, regions }).toEqual({ verdict: 'converges', regions: true })
  })

  it('stalls if the guest writes more than the link carries, as its saved curve says', async () => {
    // In 50 ms the link carries 128 pages. The guest writes its 2000 pages in some of that time.
    const limits = ['--bandwidth', '10MiB/s', '--downtime', '50ms', '--json']
    const file = folder()('saved.json', '')
    const { stdout, status } = await predict(
      ...['guest:stride,pages=2000,memory=64MiB', ...limits],
      ...[...windows, '--save', file, '--exit-code'],
    )
    expect(status).toBe(10)
    expect((JSON.parse(stdout) as MigrationPrediction).verdict).toBe('stalls')
    const saved = await predict('--curve', file, ...limits, '--exit-code')
    expect({ status: saved.status, stdout: saved.stdout }).toEqual({ status, stdout })
  })

  it('takes the memory of the VM that a curve of samples does not have', async () => {
    const { stdout } = await predict(
      ...['guest:idle,memory=64MiB', '--mode', 'page-sampling', '--sample-pages', '1024'],
      ...[...windows, '--bandwidth', '1Gbit/s', '--downtime', 'unlimited', '--json'],
    )
    const { bytes } = JSON.parse(stdout) as MigrationPrediction
    // Nearly all pages are zero. All of them together would be 64 MiB.
    expect(bytes.value).toBeLessThan(8 * 2 ** 20)
  })
})

describe('a command line that cannot be used', () => {
  const given = ['--bandwidth', '1GB/s', '--downtime', '300ms']
  it.each([
    [[...given], 'there is neither a target nor --curve'],
    [['guest:idle', '--curve', publishedFile, ...given], 'it cannot be combined with a target'],
    [['--curve', publishedFile, ...given, '--for', '1min'], 'it cannot be combined with --for'],
    [['guest:idle', '--bandwidth', '1GB/s'], '--downtime: it is missing'],
    [['guest:idle', ...given, '--profile', 'qemo'], "'qemo' is not known"],
    [['guest:idle', ...given, '--windows', '1'], '--windows'],
    [['--curve', '/nonexistent', ...given], "--curve: '/nonexistent' cannot be read"],
    [['--curve', '/', ...given], "--curve: '/' cannot be read"],
    [['--curve', '', ...given], '--curve: it is empty'],
    [['--curve', publishedFile, '--bandwidth', '10', '--downtime', '1s'], "'10' has no unit"],
    [['--curve', publishedFile, '--bandwidth', '1GB/s'], '--downtime: it is missing'],
    [['--curve', publishedFile, ...given, '--seed', '7'], 'it cannot be combined with --seed'],
    [['--curve', publishedFile, ...given, '--mode', 'soft-dirty'], 'combined with --mode'],
    [['--curve', publishedFile, ...given, '--force'], 'it cannot be combined with --force'],
    [
      ['--curve', publishedFile, '--bandwidth', '1GB/s,2GB/s', '--downtime', '1s'],
      '--bandwidth: several values are for --matrix',
    ],
    [
      ['--curve', publishedFile, ...given, '--matrix', '--exit-code'],
      '--exit-code: it is not for --matrix',
    ],
    [
      ['--curve', publishedFile, ...given, '--device-state', '25h'],
      "--device-state: '25h' is out of range",
    ],
    [['--curve', publishedFile, ...given, '--profile', 'qemo'], "'qemo' is not known"],
    [
      ['--curve', publishedFile, ...given, '--snapshot', '5min'],
      '--downtime: it is not for --snapshot',
    ],
    [
      ['--curve', publishedFile, ...given, '--granularity', '64KiB'],
      '--granularity: it is for --snapshot only',
    ],
  ])('%j', async (args, message) => {
    const { status, stderr } = await predict(...args)
    expect(status).toBe(2)
    expect(stderr).toContain(message)
    expect(stderr.trimEnd().split('\n')).toHaveLength(2)
  })

  it.each([
    ['not JSON', 'is not JSON'],
    ['[]', '--curve: [] is not an object'],
    ['{}', '--curve: it has no points'],
    ['{"window":{},"bytesPerSecond":1}', 'measurement of one window'],
  ])('a file with %s', async (text, message) => {
    const { status, stderr } = await predict('--curve', folder()('bad.json', text), ...given)
    expect(status).toBe(2)
    expect(stderr).toContain(message)
  })
})
