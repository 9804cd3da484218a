/** `serve --config` with real VMs that appear and vanish, and with a file that changes. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { workload } from '../../../ts/index.js'
import { cli, dirtyrate } from '../../fixtures/command.js'
import { type Exported, valueIn } from '../../fixtures/exposition.js'
import { describeKvm, describeWith } from '../../fixtures/kvm.js'
import { MEMORY } from '../../fixtures/machine.js'
import { type QemuGuest, startQemu } from '../../fixtures/qemu.js'
import { startServing } from '../../fixtures/serving.js'

const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY}`
const FAST = 'every: 300ms\nwindow: 100ms\ncurve-every: never\n'

/** A folder of the test's own, and a configuration in it. */
function place(): { folder: string; file: string; write(text: string): void } {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-host-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'serve.yaml')
  return {
    folder,
    file,
    write(text) {
      writeFileSync(`${file}.new`, text)
      renameSync(`${file}.new`, file)
    },
  }
}

const of = (samples: readonly Exported[], name: string, target?: string): number | undefined =>
  valueIn(samples, `dirtyrate_${name}`, target === undefined ? {} : { target })
const measured = (samples: readonly Exported[], target: string): number =>
  valueIn(samples, 'dirtyrate_measurements_total', { target, result: 'complete' }) ?? 0
const seriesOf = (samples: readonly Exported[], target: string): Exported[] =>
  samples.filter(({ labels }) => labels.target === target)

describeWith('qemu-system-x86_64', 'VMs that appear and vanish', () => {
  it('are measured while they are there, each once', { timeout: 180_000 }, async () => {
    const { folder, file, write } = place()
    const started = (name: string): Promise<QemuGuest> => {
      const args = ['-qmp', `unix:${folder}/${name}.sock,server=on,wait=off`, '-name', name]
      return startQemu(workload.stride({ pages: 1000 }), { mib: 64, args })
    }
    // Both sources lead to a QEMU, and so does the target that is named.
    write(
      `${FAST}discovery:\n  every: 1s\n  qmp:\n    - sockets: ${folder}/*.sock\n  pid:\n    - vmm: qemu\n      include: [vm-a, vm-b]\ntargets:\n  - { target: "${guest}", name: mine }\n`,
    )
    const serving = await startServing(['--config', file])
    const before = await serving.scraped(samples => measured(samples, 'mine') >= 1)
    expect(of(before, 'targets')).toBe(1)
    const [a, b] = await Promise.all([started('vm-a'), started('vm-b')])
    onTestFinished(() => Promise.all([a.end(), b.end()]).then(() => undefined))
    const [uriA, uriB] = [`qmp:${folder}/vm-a.sock`, `qmp:${folder}/vm-b.sock`]
    const both = await serving.scraped(
      samples =>
        measured(samples, uriA) >= 2 &&
        measured(samples, uriB) >= 2 &&
        valueIn(samples, 'dirtyrate_target_info', { target: uriA, name: 'vm-a' }) === 1,
    )
    expect(of(both, 'targets')).toBe(3)
    expect(
      both
        .filter(({ name }) => name === 'dirtyrate_discovery_targets')
        .map(({ labels, value }) => [labels.source?.split(' ')[0], value]),
    ).toEqual([
      ['qmp', 2],
      ['pid', 0],
    ])

    // One that migrates is followed. It takes minutes at this bandwidth.
    const sink = createServer(socket => socket.resume())
    sink.listen(0, '127.0.0.1')
    await once(sink, 'listening')
    onTestFinished(() => void sink.close())
    const { port } = sink.address() as AddressInfo
    await b.qemu.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 15 })
    await b.qemu.execute('migrate', { uri: `tcp:127.0.0.1:${port}` })
    const migrating = await serving.scraped(samples => of(samples, 'migration_active', uriB) === 1)
    expect(of(migrating, 'dirty_rate_bytes_per_second', uriB)).toBeUndefined()

    // One that ends has no series any more, and the others go on.
    await a.end()
    const after = await serving.scraped(samples => seriesOf(samples, uriA).length === 0)
    expect(of(after, 'targets')).toBe(2)
    const later = await serving.scraped(
      samples => measured(samples, 'mine') > measured(after, 'mine'),
    )
    expect(of(later, 'target_up', 'mine')).toBe(1)
    expect(serving.said()).toContain(`No longer measured: ${uriA}.`)

    // Another VM of the same name begins anew.
    const again = await started('vm-a')
    onTestFinished(() => again.end())
    const anew = await serving.scraped(samples => measured(samples, uriA) >= 1)
    expect(measured(anew, uriA)).toBeLessThan(measured(both, uriA))
    expect(await serving.end()).toBe(143)
  })
})

/** Opens a pipe as soon as somebody reads it. Waiting for that holds no thread. */
async function writerOf(pipe: string): Promise<FileHandle> {
  for (;;) {
    try {
      return await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error
      await sleep(20)
    }
  }
}

describeKvm('a configuration that is read again', () => {
  const targets = (more = ''): string =>
    `${FAST}targets:\n  - { target: "${guest}", name: stays }\n${more}`

  it('is read again also if SIGHUP comes while the server starts', {
    timeout: 60_000,
  }, async () => {
    const file = join(place().folder, 'pipe.yaml')
    execFileSync('mkfifo', [file])
    const args = [cli, 'serve', '--listen', '127.0.0.1:0', '--config', file]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    const closed = once(child, 'close')
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (more: string) => {
      said += more
    })
    // The server has begun as soon as it reads the pipe.
    const first = await writerOf(file)
    child.kill('SIGHUP')
    await first.writeFile(targets())
    await first.close()
    await expect.poll(() => said, { timeout: 30_000 }).toContain('Serving 1 target')
    const second = await writerOf(file)
    await second.writeFile(targets())
    await second.close()
    await expect.poll(() => said, { timeout: 30_000 }).toContain('was read again')
    child.kill('SIGTERM')
    expect(await closed).toEqual([143, null])
  })

  it('leaves what stays alone, and changes the rest', { timeout: 120_000 }, async () => {
    const { file, write } = place()
    write(targets('  - { target: "guest:idle", name: goes }\n'))
    const serving = await startServing(['--config', file])
    const first = await serving.scraped(
      samples => measured(samples, 'stays') >= 3 && measured(samples, 'goes') >= 1,
    )
    expect(of(first, 'config_last_reload_successful')).toBe(1)
    const reloadedAt = of(first, 'config_last_reload_success_timestamp_seconds') ?? 0

    // A bad file is refused, and told.
    write(targets('  - { target: "guest:idle", windw: 1s }\n'))
    serving.child.kill('SIGHUP')
    const refused = await serving.scraped(
      samples => of(samples, 'config_last_reload_successful') === 0,
    )
    expect(of(refused, 'targets')).toBe(2)
    expect(of(refused, 'config_last_reload_success_timestamp_seconds')).toBe(reloadedAt)
    expect(serving.said()).toContain("serve.yaml:6:29: 'windw' is not known here")
    expect(serving.said()).toContain('The former configuration stays in force.')

    // What the server itself has cannot change.
    write(`allow-host: vm.example\n${targets()}`)
    serving.child.kill('SIGHUP')
    await expect
      .poll(() => serving.said(), { timeout: 30_000 })
      .toContain('serve.yaml:1:13: allow-host: it cannot change while the server runs')

    const truthBefore = await serving.scrape()
    write(
      `budget: 50%\n${targets('  - { target: "guest:idle,vcpus=2", name: comes }\n').replace('100ms', '150ms')}`,
    )
    serving.child.kill('SIGHUP')
    const second = await serving.scraped(samples => measured(samples, 'comes') >= 1)
    expect(of(second, 'config_last_reload_successful')).toBe(1)
    expect(of(second, 'config_last_reload_success_timestamp_seconds')).toBeGreaterThan(reloadedAt)
    expect(of(second, 'budget_ratio')).toBe(0.5)
    expect(seriesOf(second, 'goes')).toEqual([])
    // The counters of the one that stays go on, with another window, and still with its truth.
    const last = await serving.scraped(
      samples =>
        measured(samples, 'stays') >= measured(second, 'stays') + 2 &&
        Math.round((of(samples, 'dirty_rate_window_seconds', 'stays') ?? 0) * 100) >= 15,
    )
    for (const samples of [second, last])
      expect(measured(samples, 'stays')).toBeGreaterThanOrEqual(measured(truthBefore, 'stays'))
    const bound = (name: string): number =>
      valueIn(last, 'dirtyrate_truth_bytes_total', { target: 'stays', bound: name }) ?? Number.NaN
    const dirty = of(last, 'dirty_bytes_total', 'stays') ?? Number.NaN
    expect(dirty).toBeGreaterThanOrEqual(bound('low'))
    expect(dirty).toBeLessThanOrEqual(bound('high'))
    expect(await serving.end()).toBe(143)
  })

  it('measures no more targets than it may, and says how many it leaves out', async () => {
    const { file, write } = place()
    const three = [1, 2, 3].map(n => `  - { target: "guest:idle,vcpus=${n}", name: n${n} }\n`)
    write(`${FAST}discovery: { most: 2 }\ntargets:\n${three.join('')}`)
    const serving = await startServing(['--config', file])
    const samples = await serving.scraped(all => measured(all, 'n2') >= 1)
    expect([of(samples, 'targets'), of(samples, 'targets_left_out')]).toEqual([2, 1])
  })

  it('gives way to what the command line says', async () => {
    const { file, write } = place()
    write(`listen: 0.0.0.0:0\nwindow: 5s\n${targets().replace('window: 100ms\n', '')}`)
    const serving = await startServing(['--config', file, '--window', '50ms', guest])
    const samples = await serving.scraped(
      all => measured(all, 'stays') >= 1 || measured(all, guest) >= 1,
    )
    expect(serving.url).toContain('127.0.0.1')
    // The guest of the command line is also in the file, and is measured once.
    expect(of(samples, 'targets')).toBe(1)
  })
})

describe('dirtyrate serve --config', () => {
  it('says what is missing without targets and without a file', async () => {
    const { status, stderr } = await dirtyrate(['serve'])
    expect(status).toBe(2)
    expect(stderr).toContain('Give a target, such as libvirt:web, or --config FILE')
  })
})
