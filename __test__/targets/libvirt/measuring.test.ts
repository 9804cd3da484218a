/** Domains of a real libvirt, with KVM: every way of measuring them, and what goes wrong. */

import { chmodSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { together } from '../../../ts/cli/calc.js'
import {
  capabilities,
  type DirtyRateCurve,
  openTarget,
  type Target,
  workload,
} from '../../../ts/index.js'
import { serve } from '../../../ts/qmp/server/server.js'
import { cli, dirtyrate, run } from '../../fixtures/command.js'
import { folder } from '../../fixtures/elf.js'
import { full } from '../../fixtures/kvm.js'
import { describeLibvirt, type Libvirt, processOf, startLibvirt } from '../../fixtures/libvirt.js'
import { PAGE } from '../../fixtures/machine.js'
import { mostMisses } from '../../fixtures/misses.js'
import { RawClient } from '../../fixtures/raw-client.js'

const MIB = 2 ** 20
/** 40 MiB, which an emulated guest too writes several times in a second. */
const PAGES = 10_240
/** Pages that the guest writes beside its working set: its mailbox, its stack, its boot's. */
const OTHERS = 8
/** A confidence at which an interval that is right fails no run of the tests. */
const SURE = 0.999999
/** How much longer than asked for the windows of QEMU may be here. */
const LONGER = 1.05
/** A name with each character that has a meaning somewhere on the way. */
const NAME = "web,1 &'$(x)"

let libvirt: Libvirt

const uriOf = (domain: string, options = ''): string =>
  `libvirt:${domain.replaceAll(',', ',,')},connect=${libvirt.uri}${options}`
const opened = async (domain = NAME, options = ''): Promise<Target> => {
  const target = await openTarget(uriOf(domain, options) as `libvirt:${string}`)
  onTestFinished(() => target.close())
  return target
}
/** Resolves when QEMU measures the domain. */
async function begun(): Promise<void> {
  for (;;) {
    const text = await libvirt.virsh('domstats', '--nowait', '--dirtyrate', '--', NAME)
    if (/calc_status=1/.test(text)) return
  }
}
/** The rate at which all pages of the guest are dirtied once in `s` seconds. */
const rateOf = (pages: number, s: number): number => (pages * PAGE) / s

describeLibvirt('a domain of libvirt', () => {
  beforeAll(async () => {
    libvirt = await startLibvirt()
    await libvirt.start(NAME, workload.stride({ pages: PAGES }), true)
    await libvirt.atWork(NAME)
  }, 120_000)
  afterAll(() => libvirt.end())

  it('says what it is, by its name, its UUID or its number', async () => {
    const uuid = (await libvirt.virsh('domuuid', '--', NAME)).trim()
    const id = (await libvirt.virsh('domid', '--', NAME)).trim()
    for (const domain of [NAME, uuid, id]) {
      const { modes, ways: _, ...rest } = await (await opened(domain)).describe()
      expect(rest).toEqual({
        uri: uriOf(NAME),
        memoryBytes: 256 * MIB,
        vcpus: 1,
        state: 'running',
        kvm: true,
        software: expect.stringMatching(/^QEMU \d+\.\d+\.\d+ of libvirt, with KVM$/),
      })
      expect(modes.map(({ mode }) => mode)).toEqual(['page-sampling', 'dirty-bitmap', 'dirty-ring'])
      const refused = modes.flatMap(ability =>
        ability.refused === undefined ? [] : [ability.mode],
      )
      expect(refused).toEqual(capabilities().emulated ? ['dirty-ring'] : [])
    }
  })

  it('whose name is the number of another one is asked for, and named, by its UUID', async () => {
    const name = (await libvirt.virsh('domid', '--', NAME)).trim()
    await libvirt.start(name, workload.idle(), true)
    onTestFinished(async () => {
      const [uuid = ''] = named
      await libvirt.virsh('destroy', uuid)
      await libvirt.virsh('undefine', uuid)
    })
    const uuids = (await libvirt.virsh('list', '--uuid')).split(/\s+/)
    const own = (await libvirt.virsh('domuuid', '--', NAME)).trim()
    const named = uuids.filter(uuid => uuid !== '' && uuid !== own)
    expect(named).toHaveLength(1)
    const [uuid = ''] = named
    const target = await opened(uuid)
    // The URI opens this domain again, and not the one that runs under this number.
    expect(target.uri).toBe(uriOf(uuid))
    const web = await opened()
    for (const ones of [[target, web], [target]]) {
      const measured = ones.map(one => one.measureDirtyRate({ window: '1s' }))
      const [idle, busy] = await Promise.all(measured)
      // One rate is between those of the two guests. The idle one may still boot.
      expect(idle?.bytesPerSecond).toBeLessThan(rateOf(PAGES, 4))
      if (busy !== undefined) expect(busy.bytesPerSecond).toBeGreaterThan(rateOf(PAGES, 4))
    }
    const pid = processOf(libvirt, name)
    const { stdout } = await run(process.execPath, [cli, 'list', '--json'])
    const vms: { pid: number; targets: { target: string }[] }[] = JSON.parse(stdout).vms
    const targets = vms.find(vm => vm.pid === pid)?.targets.map(({ target: text }) => text)
    expect(targets).toContain(`libvirt:${uuid}`)
  })

  it('has a rate by the bitmap, between the MiB/s that libvirt says and the next', async () => {
    const target = await opened()
    const measured = await target.measureDirtyRate({ mode: 'dirty-bitmap', window: '1s' })
    const { interval, bytesPerSecond, window } = measured
    expect(interval).toEqual({ low: bytesPerSecond, high: bytesPerSecond + MIB, confidence: 1 })
    // libvirt says only the whole seconds of the window.
    const seconds = window.ns / 1e9
    expect(Number.isInteger(seconds)).toBe(true)
    expect(rateOf(PAGES, seconds + 1)).toBeLessThan(interval.high ?? 0)
    expect(rateOf(PAGES + OTHERS, seconds)).toBeGreaterThanOrEqual(interval.low)
    expect(measured).not.toHaveProperty('pages')
    expect(measured.qapi).toMatchObject({ mode: 'dirty-bitmap', 'sample-pages': 0 })
  })

  it('is sampled unless another mode is named, with an interval that has the truth', async () => {
    const target = await opened()
    const measured = await target.measureDirtyRate({ window: '1s', confidence: SURE })
    expect(measured).toMatchObject({
      mode: 'page-sampling',
      sampling: { samplesPerGiB: 512 },
      window: { requestedMs: 1000, ns: 1e9 },
    })
    expect(measured.interval.low).toBeLessThan(rateOf(PAGES, 1))
    expect(measured.interval.high).toBeGreaterThan(rateOf(PAGES, 2))
  })

  it.runIf(full)('has the truth in as many intervals as they promise', async () => {
    const target = await opened()
    const [count, confidence] = [100, 0.95]
    let misses = 0
    for (let round = 0; round < count; round++) {
      const { interval, window } = await target.measureDirtyRate({ window: '1s', confidence })
      // libvirt says whole seconds, and QEMU computes with the milliseconds that it took.
      const seconds = window.ns / 1e9
      const least = rateOf(PAGES, seconds * LONGER)
      const most = rateOf(PAGES + OTHERS, seconds)
      if (interval.low > most || (interval.high ?? 0) < least) misses++
    }
    expect(misses).toBeLessThanOrEqual(mostMisses(count, confidence))
  })

  it('has a curve of separate windows, and can be watched', async () => {
    const words = ['curve', uriOf(NAME), '--mode', 'dirty-bitmap', '--json']
    const { status, stdout } = await dirtyrate(words)
    expect(status).toBe(0)
    const curve: DirtyRateCurve = JSON.parse(stdout)
    expect(curve.points.map(({ requestedMs }) => requestedMs)).toEqual([1000, 2000, 5000])
    expect(curve.warnings.map(({ code }) => code)).toEqual(['SEPARATE_WINDOWS'])
    const target = await opened()
    for await (const { bytesPerSecond } of target.watchDirtyRate({ every: '1s' })) {
      expect(bytesPerSecond).toBeGreaterThan(0)
      break
    }
  })

  it.each([
    ['50ms', 512],
    ['1500ms', 512],
    ['1s', 4096],
  ])('refuses %s with %d samples per GiB, and does not round it', async (window, samplePages) => {
    const target = await opened()
    await expect(
      target.measureDirtyRate({ mode: 'page-sampling', window, samplePages }),
    ).rejects.toMatchObject({ code: 'ERR_ARGUMENT', hint: expect.stringContaining('monitor=yes') })
    expect(() => target.watchDirtyRate({ every: '61s' })).not.toThrow()
  })

  it('was not tainted by any of that, and is by monitor=yes, which measures 300 ms', async () => {
    const tainted = async (): Promise<boolean> =>
      (await libvirt.virsh('dominfo', '--', NAME)).includes('custom monitor')
    expect(await tainted()).toBe(false)
    const target = await opened(NAME, ',monitor=yes')
    const { window, interval } = await target.measureDirtyRate({
      mode: 'page-sampling',
      window: '300ms',
      samplePages: 16_384,
      confidence: SURE,
    })
    const seconds = window.ns / 1e9
    expect(seconds).toBeGreaterThanOrEqual(0.3)
    expect(interval.low).toBeLessThan(rateOf(PAGES, seconds))
    expect(target.uri).toBe(uriOf(NAME, ',monitor=yes'))
    expect(await tainted()).toBe(true)
  })

  it('is measured from outside with any window, and in a curve with pages', async () => {
    const target = await opened(NAME, ',outside=yes')
    expect(target.uri).toBe(uriOf(NAME, ',outside=yes'))
    expect(target.modes).toEqual(['page-sampling', 'soft-dirty'])
    const curve = await target.measureDirtyCurve({
      windows: ['100ms', '1s'],
      samplePages: 16_384,
      confidence: SURE,
    })
    expect(curve.warnings).toEqual([])
    const { pages = 0, interval } = curve.points[1] ?? { interval: { low: 0, high: 0 } }
    expect(pages).toBeGreaterThan(0)
    expect(interval.low).toBeLessThan(rateOf(PAGES + OTHERS, 1))
    expect(interval.high).toBeGreaterThan(rateOf(PAGES, 1.5))
    const { ways = [] } = await (await opened()).describe()
    expect(ways.map(way => way.target)).toEqual([
      uriOf(NAME),
      uriOf(NAME, ',monitor=yes'),
      uriOf(NAME, ',outside=yes'),
    ])
  })

  it('is measured by one client at a time', async () => {
    const [one, other] = [await opened(), await opened()]
    const running = one.measureDirtyRate({ window: '2s' })
    await begun()
    await expect(other.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
      code: 'ERR_MEASURING',
      hint: expect.stringMatching(/its window ends in at most [1-3] s/),
    })
    expect((await running).complete).toBe(true)
  })

  it('is left at once when the signal is aborted', async () => {
    const target = await opened()
    const reason = new Error('enough')
    const { signal, abort } = abortable(reason)
    const measuring = target.measureDirtyRate({ window: '2s', signal })
    const left = expect(measuring).rejects.toBe(reason)
    await begun()
    abort()
    await left
    // QEMU cannot stop the job, so the next one of this target waits for its end.
    expect((await target.measureDirtyRate({ window: '1s' })).complete).toBe(true)
  })

  it('that is paused, or is paused within the window, is refused', async () => {
    const target = await opened()
    const measuring = target.measureDirtyRate({ window: '2s' })
    const refused = expect(measuring).rejects.toMatchObject({ code: 'ERR_PAUSED' })
    await begun()
    await libvirt.virsh('suspend', '--', NAME)
    await refused
    await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
      code: 'ERR_PAUSED',
      hint: expect.stringContaining('virsh resume'),
    })
    expect((await target.describe()).state).toBe('paused')
    await libvirt.virsh('resume', '--', NAME)
  })

  it.each(['', ',monitor=yes'])(
    'with a pause that ends within the window is refused%s',
    async way => {
      const target = await opened(NAME, way)
      const refused = expect(target.measureDirtyRate({ window: '3s' })).rejects.toMatchObject({
        code: 'ERR_PAUSED',
        message: expect.stringContaining('within the window'),
      })
      await begun()
      await libvirt.virsh('suspend', '--', NAME)
      await libvirt.virsh('resume', '--', NAME)
      await refused
      expect((await target.measureDirtyRate({ window: '1s' })).complete).toBe(true)
    },
  )

  it('goes on being measured after Ctrl-C, which the command says, and so does the next', async () => {
    let isInterrupted = false
    const words = ['calc', uriOf(NAME), '--window', '6s', '--log-level', 'debug']
    const first = await dirtyrate(words, {
      onStderr(text, kill) {
        if (isInterrupted || !text.includes('measurement began')) return
        isInterrupted = true
        void begun().then(() => kill('SIGINT'))
      },
    })
    expect(first.stderr).toMatch(/QEMU goes on measuring until its window ends, in [1-6] s\./)
    expect((await dirtyrate(['calc', uriOf(NAME), '--window', '1s'])).stderr).toMatch(
      /for another client\n.* its window ends in at most [1-7] s/,
    )
    const target = await opened()
    await expect
      .poll(() => target.measureDirtyRate({ window: '1s' }), { timeout: 20_000 })
      .toHaveProperty('bytesPerSecond')
  })

  it('is listed as libvirt: and by its process, and never as qmp:', async () => {
    const pid = processOf(libvirt, NAME)
    const enter = ['--target', String(libvirt.pid), '--mount']
    for (const command of [[], ['nsenter', ...enter]]) {
      const [program = '', ...args] = [...command, process.execPath, cli, 'list', '--json']
      const { stdout, stderr } = await run(program, args)
      expect(stderr).toBe('')
      const vms: { pid: number; name: string; targets: { target: string }[] }[] =
        JSON.parse(stdout).vms
      const vm = vms.find(one => one.pid === pid)
      expect(vm).toMatchObject({ name: NAME, vmm: 'qemu', accelerator: 'kvm', vcpus: 1 })
      const targets = (vm?.targets ?? []).map(({ target }) => target)
      expect(targets).toContain(`libvirt:${NAME.replaceAll(',', ',,')}`)
      expect(targets.filter(target => target.startsWith('qmp:'))).toEqual([])
    }
  })

  it('is printed with its target, which opens it again', async () => {
    const { status, stdout } = await dirtyrate(['calc', uriOf(NAME), '--json'])
    expect(status).toBe(0)
    const { target } = JSON.parse(stdout)
    expect(target).toBe(uriOf(NAME))
    expect((await openTarget(target)).uri).toBe(target)
  })

  it('is served to clients of QMP, and is refused when it is shut off, or not there', async () => {
    const name = 'shut-off'
    await libvirt.start(name, workload.idle(), true)
    const target = await opened(name)
    const socket = join(dirname(folder()('x', '')), 'served')
    const server = await serve(target, { socket }, { lookMs: 200 })
    onTestFinished(() => server.close())
    const client = await RawClient.negotiated(socket)
    const returned = async (execute: string, args = {}): Promise<unknown> =>
      JSON.parse(await client.ask(JSON.stringify({ execute, arguments: args }))).return
    expect(await returned('query-status')).toEqual({ status: 'running', running: true })
    await libvirt.virsh('suspend', name)
    expect(await returned('query-status')).toEqual({ status: 'paused', running: false })
    await libvirt.virsh('resume', name)
    expect(await returned('query-status')).toEqual({ status: 'running', running: true })
    expect(await returned('query-kvm')).toEqual({ enabled: true, present: true })
    expect(await returned('calc-dirty-rate', { 'calc-time': 1 })).toEqual({})
    const info = (): Promise<unknown> => returned('query-dirty-rate')
    await expect
      .poll(info, { timeout: 10_000 })
      .toMatchObject({ status: 'measured', 'calc-time': 1, mode: 'page-sampling' })
    await libvirt.virsh('destroy', name)
    // Nobody has asked the server for anything since.
    expect(await server.ended).toBe('target-gone')
    expect(await client.end()).toContain('"event": "SHUTDOWN"')
    expect((await target.describe()).state).toBe('shut off')
    await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
      code: 'ERR_STATE',
      hint: expect.stringContaining('virsh start'),
    })
    await libvirt.virsh('undefine', name)
    await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
      code: 'ERR_TARGET_ABSENT',
      message: `libvirt has no domain '${name}'`,
      // It was asked by the UUID, which is not what the user has typed.
      details: { virsh: expect.stringContaining(`'${name}'`) },
    })
    for (const nobody of ['nobody-has-this-name', '--nonsense', '99'])
      await expect(opened(nobody)).rejects.toMatchObject({ code: 'ERR_TARGET_ABSENT' })
  })

  it('that ends within the window is gone, and not unknown', async () => {
    await libvirt.start('short-lived', workload.idle())
    const target = await opened('short-lived')
    const windowMs = 30_000
    const measured = target.measureDirtyRate({ window: windowMs })
    const gone = expect(measured).rejects.toMatchObject({
      code: 'ERR_TARGET_GONE',
      message: "the domain 'short-lived' has ended within the window",
    })
    // libvirt has the measurement as soon as QEMU does. It is asked for by other calls of virsh,
    // which take seconds on a busy machine, and the domain ends as soon as it has begun.
    await expect
      .poll(() => libvirt.virsh('domstats', '--dirtyrate', 'short-lived'), { timeout: windowMs })
      .toMatch(/calc_status=1/)
    await libvirt.virsh('destroy', 'short-lived')
    await gone
  })

  it('that a read-only connection names can be described and not measured', async () => {
    const connect = `${libvirt.uri}-ro`
    const target = await openTarget(`libvirt:${NAME.replaceAll(',', ',,')},connect=${connect}`)
    onTestFinished(() => target.close())
    await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
      code: 'ERR_TARGET_PERMISSION',
      message: expect.stringContaining('read-only'),
    })
  })

  /** Puts a virsh into PATH that changes what the real one prints for one command. */
  function misprinting(command: string, edit: string): void {
    const file = folder()(
      'virsh',
      `#!/bin/sh
case " $* " in *' ${command} '*) ;; *) exec /usr/bin/virsh "$@" ;; esac
out=$(/usr/bin/virsh "$@"); status=$?
printf '%s\\n' "$out" | sed -E '${edit}'
exit $status
`,
    )
    chmodSync(file, 0o755)
    const before = process.env.PATH
    process.env.PATH = `${dirname(file)}:${before}`
    onTestFinished(() => {
      process.env.PATH = before
    })
  }

  it.each([
    ['domstats', 's/(balloon.maximum)=.*/\\1=-1/', 'ERR_QAPI'],
    ['domstats', 's/(balloon.maximum)=.*/\\1=0x10/', 'ERR_QAPI'],
    ['domstats', 's/(balloon.maximum)=.*/\\1=1e3/', 'ERR_QAPI'],
    ['domstats', 's/(balloon.maximum)=.*/\\1=99999999999999999999/', 'ERR_QAPI'],
    ['domstats', 's/(balloon.maximum)=.*/&\\n  &/', 'ERR_QAPI'],
    ['domstats', '/balloon.maximum/d', 'ERR_TARGET_TIMEOUT'],
    ['domstats', '/^ /d', 'ERR_TARGET_TIMEOUT'],
    ['domstats', 's/(state.state)=.*/\\1=99/', 'ERR_QAPI'],
    ['domstats', 's/^Domain.*/&\\n&/', 'ERR_QAPI'],
    ['domjobinfo', 's/^(Job type:).*/\\1 unheard-of/', 'ERR_QAPI'],
    ['domjobinfo', 'd', 'ERR_QAPI'],
  ])('whose %s is odd, by sed %s, is not described', async (command, edit, code) => {
    const target = await opened()
    misprinting(command, edit)
    await expect(target.describe()).rejects.toMatchObject({ code })
  })

  it.each([
    ['s/(calc_status)=.*/\\1=7/', 'ERR_QAPI'],
    ['s/(megabytes_per_second)=.*/\\1=lots/', 'ERR_QAPI'],
    ['s/(megabytes_per_second)=.*/\\1=999999999999/', 'ERR_QAPI'],
    ['s/(megabytes_per_second)=.*/\\1=-1/', 'ERR_STATE'],
    ['s/(calc_period)=.*/\\1=-1/', 'ERR_QAPI'],
    ['s/(calc_mode)=.*/\\1=guessing/', 'ERR_QAPI'],
  ])('whose rate is odd, by sed %s, has none', async (edit, code) => {
    const target = await opened()
    misprinting('--dirtyrate', edit)
    await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({ code })
    expect(target.history).toEqual([])
  })

  it('of a libvirt that does not say the mode is sampled', async () => {
    const target = await opened()
    misprinting('--dirtyrate', '/calc_mode/d')
    expect(await target.measureDirtyRate({ window: '1s' })).toMatchObject({
      mode: 'page-sampling',
      complete: true,
    })
  })

  it('whose UUID or monitor is odd is refused', async () => {
    const target = await opened(NAME, ',monitor=yes')
    misprinting('qemu-monitor-command', 's/.*/no JSON/')
    await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
      code: 'ERR_QAPI',
      message: expect.stringContaining('printed what it never prints'),
    })
    misprinting('dumpxml', 's/<uuid>.*/<uuid>none<\\/uuid>/')
    await expect(opened()).rejects.toMatchObject({ code: 'ERR_QAPI' })
  })

  it('is asked in the language C, whatever the language of the user is', async () => {
    const target = await opened()
    misprinting('domstats', 's/(state.state)=.*/\\1=\'"$LC_ALL,$LANGUAGE"\'/')
    await expect(target.describe()).rejects.toMatchObject({
      message: expect.stringContaining('state.state=C,C'),
    })
  })

  it('whose QEMU is stopped says so', async () => {
    const target = await opened()
    const pid = processOf(libvirt, NAME)
    process.kill(pid, 'SIGSTOP')
    try {
      await expect(target.describe()).rejects.toMatchObject({
        code: 'ERR_TARGET_TIMEOUT',
        message: expect.stringContaining(`its QEMU, process ${pid}, is stopped by a signal`),
        hint: expect.stringContaining(`kill -CONT ${pid}`),
      })
    } finally {
      process.kill(pid, 'SIGCONT')
    }
  }, 40_000)

  it('is one VM by its name, its UUID, its number and its process', async () => {
    const uuid = (await libvirt.virsh('domuuid', '--', NAME)).trim()
    const id = (await libvirt.virsh('domid', '--', NAME)).trim()
    const pid = processOf(libvirt, NAME)
    const uris = [uriOf(uuid), uriOf(id), uriOf(NAME, ',outside=yes'), `pid:${pid}`, 'guest:idle']
    const targets = await Promise.all(uris.map(uri => openTarget(uri as `pid:${string}`)))
    onTestFinished(async () => void (await Promise.all(targets.map(target => target.close()))))
    const measured = targets.map((target, at) => ({ target, bytesPerSecond: 2 ** at }))
    expect(together(measured, [])).toMatchObject({ sum: 1 + 2 ** 4 })
  })

  it.runIf(full)('whose QEMU stands still gives an error in a bounded time', async () => {
    const target = await opened()
    const pid = processOf(libvirt, NAME)
    process.kill(pid, 'SIGSTOP')
    try {
      await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject({
        code: 'ERR_TARGET_TIMEOUT',
        message: expect.stringContaining(NAME),
      })
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    expect((await target.measureDirtyRate({ window: '1s' })).complete).toBe(true)
  })

  it.runIf(full)('that migrates is refused, at both ends, and its progress is said', async () => {
    const other = await startLibvirt('second-host')
    onTestFinished(() => other.end())
    const target = await opened()
    const to = ['--live', '--', NAME, other.uri, 'tcp://127.0.0.1']
    const migrating = libvirt.tryVirsh('migrate', '--bandwidth', '1', ...to)
    for (;;) {
      const { migration } = await target.describe()
      if ((migration?.passes ?? 0) > 0) break
    }
    const refused = { code: 'ERR_MIGRATING' }
    await expect(target.measureDirtyRate({ window: '1s' })).rejects.toMatchObject(refused)
    const { migration } = await target.describe()
    expect(migration).toMatchObject({ status: 'active', pageSize: PAGE })
    const end = await openTarget(`libvirt:${NAME.replaceAll(',', ',,')},connect=${other.uri}`)
    await expect(end.measureDirtyRate({ window: '1s' })).rejects.toMatchObject(refused)
    await libvirt.virsh('domjobabort', '--', NAME)
    expect((await migrating).status).not.toBe(0)
    expect((await target.measureDirtyRate({ window: '1s' })).complete).toBe(true)
  })
})

/** A signal, and what aborts it with `reason`. */
function abortable(reason: Error): { signal: AbortSignal; abort(): void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort(reason) }
}
