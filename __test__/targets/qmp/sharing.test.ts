/** A real QEMU whose monitors and whose one job are shared, and whose guest does not only run. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { capabilities, openTarget, type QmpTarget, workload } from '../../../ts/index.js'
import { dirtyrate } from '../../fixtures/command.js'
import { describeWith } from '../../fixtures/kvm.js'
import { freePort, type QemuGuest, startQemu } from '../../fixtures/qemu.js'

let guest: QemuGuest
const opened = async (options = ''): Promise<QmpTarget> => {
  const target = await openTarget(`qmp:${guest.path}${options}`)
  onTestFinished(() => target.close())
  return target
}

/** Connects to the monitor and stays there, as another client does. */
async function occupy(path: string): Promise<Socket> {
  const client = connect(path)
  onTestFinished(() => {
    client.destroy()
  })
  await once(client, 'data')
  return client
}

/** Waits until QEMU has no job, so that each test begins with none. */
async function idle(): Promise<void> {
  const status = async (): Promise<unknown> =>
    ((await guest.qemu.execute('query-dirty-rate')) as { status: unknown }).status
  while ((await status()) === 'measuring') await sleep(20)
}

describeWith('qemu-system-x86_64', 'a QEMU that has other clients', () => {
  beforeAll(async () => {
    const port = await freePort()
    guest = await startQemu(workload.stride({ pages: 10_240 }), {
      args: ['-qmp', `tcp:127.0.0.1:${port},server=on,wait=off`],
    })
    tcp = `127.0.0.1:${port}`
    await guest.atWork()
  }, 120_000)
  afterAll(() => guest.end())
  let tcp = ''

  it('is reached through TCP too, and by the URI that its results name', async () => {
    const target = await openTarget(`qmp:${tcp}`)
    onTestFinished(() => target.close())
    const { target: uri } = await target.measureDirtyRate({ window: '100ms' })
    expect(uri).toBe(`qmp:${tcp}`)
    const again = await openTarget(uri)
    expect(await again.describe()).toMatchObject({ state: 'running', vcpus: 1 })
  })

  it('lets one target do several things at once, through one connection', async () => {
    const target = await opened()
    const events: string[] = []
    for (const name of ['start', 'done'] as const)
      target.on(name, ({ mode }) => events.push(`${name} ${mode}`))
    const measured = Promise.all([
      target.measureDirtyRate({ window: '300ms' }),
      target.measureDirtyRate({ window: '200ms', mode: 'dirty-bitmap' }),
    ])
    await sleep(100)
    // The monitor is in use, by this target itself.
    expect(await target.describe()).toMatchObject({ state: 'running' })
    const [sampled, exact] = await measured
    expect(sampled).toMatchObject({ mode: 'page-sampling', window: { requestedMs: 300 } })
    expect(exact).toMatchObject({ mode: 'dirty-bitmap', window: { requestedMs: 200 } })
    expect(Date.parse(exact.startedAt)).toBeGreaterThanOrEqual(
      Date.parse(sampled.startedAt) + sampled.window.ns / 1e6,
    )
    expect(events.filter(event => event.startsWith('done'))).toHaveLength(2)
    // Nobody has the monitor any more.
    const client = await occupy(guest.path)
    client.destroy()
  })

  it('that measures for another client says so', async () => {
    const target = await opened()
    await guest.qemu.execute('calc-dirty-rate', { 'calc-time': 2 })
    await expect(target.measureDirtyRate({ window: '100ms' })).rejects.toMatchObject({
      code: 'ERR_MEASURING',
      message: expect.stringContaining('for another client'),
      hint: expect.stringMatching(/its window ends in at most [1-3] s/),
    })
    await idle()
    expect(await target.measureDirtyRate({ window: '100ms' })).toHaveProperty('bytesPerSecond')
  })

  it('keeps a measurement that was aborted, for whose end the next one waits', async () => {
    const target = await opened()
    const controller = new AbortController()
    const begun = once(controller.signal, 'abort')
    const aborted = target.measureDirtyRate({ window: '6s', signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 300)
    await begun
    await expect(aborted).rejects.toThrow('enough')
    expect(await guest.qemu.execute('query-dirty-rate')).toMatchObject({ status: 'measuring' })
    // Another process does not know whose job it is.
    expect(await dirtyrate(['calc', target.uri, '--window', '100ms'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('QEMU measures the dirty rate for another client'),
    })
    const next = await target.measureDirtyRate({ window: '100ms' })
    expect(next.window.requestedMs).toBe(100)
  })

  it('whose monitor another client has is busy', async () => {
    const target = await opened()
    const client = await occupy(guest.path)
    await expect(target.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_QMP_BUSY' })
    expect(await dirtyrate(['calc', target.uri])).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/no greeting within \d+ ms/),
    })
    // Those two are gone, and still in the queue of the monitor, which has no room left.
    const waiting = target.measureDirtyRate({ window: '100ms' })
    await sleep(300)
    client.destroy()
    expect(await waiting).toHaveProperty('bytesPerSecond')
  })

  it('is left by Ctrl-C with its monitor free', async () => {
    let interrupted = false
    const words = ['calc', `qmp:${guest.path}`, '--window', '4s', '--log-level', 'debug']
    const { status, stderr } = await dirtyrate(words, {
      onStderr(text, kill) {
        if (interrupted || !text.includes('measurement began')) return
        interrupted = true
        setTimeout(kill, 300, 'SIGINT')
      },
    })
    expect(status).toBe(130)
    expect(stderr).toContain('dirtyrate: interrupted')
    expect(stderr).toMatch(/QEMU goes on measuring until its window ends, in [1-4] s\./)
    const client = await occupy(guest.path)
    client.destroy()
    await idle()
  })

  it('is not measured while its guest is paused, or if it is paused meanwhile', async () => {
    const target = await opened()
    const measured = target.measureDirtyRate({ window: '600ms' })
    const paused = expect(measured).rejects.toMatchObject({
      code: 'ERR_PAUSED',
      message: 'the guest was paused within the window',
    })
    await sleep(300)
    await guest.qemu.execute('stop')
    await paused
    await expect(target.measureDirtyRate()).rejects.toMatchObject({
      code: 'ERR_PAUSED',
      message: expect.stringContaining("QEMU says 'paused'"),
    })
    expect(await target.describe()).toMatchObject({ state: 'paused' })
    await guest.qemu.execute('cont')
    // A pause and its end within the window are noticed too.
    const resumed = expect(target.measureDirtyRate({ window: '600ms' })).rejects.toMatchObject({
      code: 'ERR_PAUSED',
    })
    await sleep(200)
    await guest.qemu.execute('stop')
    await guest.qemu.execute('cont')
    await resumed
    await idle()
  })

  it('refuses the options that QEMU has no use for, and windows that it cannot measure', async () => {
    const target = await opened()
    for (const sampling of [{ seed: 1 }, { design: 'stratified' }] as const) {
      await expect(
        target.measureDirtyRate({ mode: 'page-sampling', sampling }),
      ).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    }
    for (const window of [49, 60_001, 100.5]) {
      await expect(target.measureDirtyRate({ window })).rejects.toMatchObject({
        code: 'ERR_ARGUMENT',
      })
    }
    // The VM has no rings; where KVM emulates its guests, rings are refused even before that.
    await expect(target.measureDirtyRate({ mode: 'dirty-ring' })).rejects.toMatchObject({
      code: capabilities().emulated ? 'ERR_UNSAFE_MODE' : 'ERR_MODE_UNAVAILABLE',
    })
    const forced = await opened(',force=on')
    await expect(forced.measureDirtyRate({ mode: 'dirty-ring' })).rejects.toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
    })
  })
})

describeWith('qemu-system-x86_64', 'a QEMU without KVM', () => {
  it('is sampled, and is not measured by a bitmap unless that is forced', async () => {
    guest = await startQemu(workload.stride({ pages: 10_240 }), { accel: 'tcg' })
    onTestFinished(() => guest.end())
    await guest.atWork()
    const target = await opened()
    expect(await target.describe()).toMatchObject({
      software: expect.stringContaining('without KVM'),
      modes: [
        expect.not.objectContaining({ refused: expect.anything() }),
        { mode: 'dirty-bitmap', refused: expect.stringContaining('reads 0 in this mode') },
        expect.not.objectContaining({ refused: expect.anything() }),
      ],
    })
    const { interval } = await target.measureDirtyRate({ window: '1s', confidence: 0.999999 })
    expect(interval.high).toBeGreaterThan(40 * 2 ** 20)
    const refusal = {
      code: 'ERR_UNSAFE_MODE',
      message: expect.stringContaining('reads 0 in this mode'),
    }
    await expect(target.measureDirtyRate({ mode: 'dirty-bitmap' })).rejects.toMatchObject(refusal)
    const words = ['calc', target.uri, '--mode', 'dirty-bitmap', '--window', '100ms', '--json']
    expect(await dirtyrate(words)).toMatchObject({ status: 2 })
    const { status, stdout } = await dirtyrate([...words, '--force'])
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      target: `qmp:${guest.path},force=on`,
      mode: 'dirty-bitmap',
      bytesPerSecond: 0,
    })
    expect(await dirtyrate(['calc', 'guest:idle', '--force'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('has no mode that would be refused'),
    })
  }, 120_000)
})
