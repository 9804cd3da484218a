/** Real migrations of a VM from one QEMU to another, with a target at each of them. */

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { openTarget, type QmpTarget, type TargetDescription, workload } from '../../../ts/index.js'
import { dirtyrate } from '../../fixtures/command.js'
import { describeWith } from '../../fixtures/kvm.js'
import { freePort, type QemuGuest, startQemu } from '../../fixtures/qemu.js'

const MIB = 2 ** 20

/** Starts a QEMU that ends with the test, and a target of it. */
async function started(...args: string[]): Promise<{ guest: QemuGuest; target: QmpTarget }> {
  const guest = await startQemu(workload.stride({ pages: 10_240 }), { args })
  onTestFinished(() => guest.end())
  const target = await openTarget(`qmp:${guest.path}`)
  onTestFinished(() => target.close())
  return { guest, target }
}

async function until(
  target: QmpTarget,
  isThere: (found: TargetDescription) => boolean,
): Promise<TargetDescription> {
  for (;;) {
    const found = await target.describe()
    if (isThere(found)) return found
    await sleep(50)
  }
}

describeWith('qemu-system-x86_64', 'a VM that is migrated', () => {
  it('is not measured meanwhile, and says how far it is', { timeout: 240_000 }, async () => {
    const { guest, target } = await started()
    await guest.atWork()
    expect(await target.describe()).not.toHaveProperty('migration')

    // Nobody is there to migrate to.
    await guest.qemu.execute('migrate', { uri: 'tcp:127.0.0.1:1' })
    const failed = await until(target, ({ migration }) => migration?.status === 'failed')
    expect(failed.migration).toEqual({
      status: 'failed',
      underWay: false,
      error: expect.stringContaining('Connection refused'),
    })
    expect(await target.measureDirtyRate({ window: '100ms' })).toHaveProperty('bytesPerSecond')

    // The guest writes 40 MiB over and over, so it does not converge at this bandwidth.
    const port = await freePort()
    const destination = await started('-incoming', `tcp:127.0.0.1:${port}`)
    await guest.qemu.execute('migrate-set-parameters', {
      'max-bandwidth': 20 * MIB,
      'downtime-limit': 100,
    })
    const measured = target.measureDirtyRate({ mode: 'dirty-bitmap', window: '2s' })
    const overtaken = expect(measured).rejects.toMatchObject({
      code: 'ERR_MIGRATING',
      message: expect.stringContaining('began within the window'),
    })
    await sleep(500)
    await guest.qemu.execute('migrate', { uri: `tcp:127.0.0.1:${port}` })
    await overtaken

    const active = await until(target, ({ migration }) => (migration?.passes ?? 0) >= 2)
    expect(active.migration).toMatchObject({
      status: 'active',
      underWay: true,
      pageSize: 4096,
      elapsedMs: expect.any(Number),
      remainingBytes: expect.any(Number),
      transferredBytes: expect.any(Number),
      dirtyPagesPerSecond: expect.any(Number),
      expectedDowntimeMs: expect.any(Number),
    })
    for (const mode of ['page-sampling', 'dirty-bitmap'] as const) {
      await expect(target.measureDirtyRate({ mode })).rejects.toMatchObject({
        code: 'ERR_MIGRATING',
        message: expect.stringMatching(
          /being migrated: its state is 'active', pass \d+, \d+ MiB left/,
        ),
        hint: expect.stringContaining(
          mode === 'page-sampling' ? 'slows it down' : 'again at each pass',
        ),
        details: { status: 'active' },
      })
    }
    expect(await dirtyrate(['calc', target.uri])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/being migrated.*\nMeasure before the migration, or after it/),
    })
    // The destination waits for its guest.
    await expect(destination.target.measureDirtyRate()).rejects.toMatchObject({
      code: 'ERR_MIGRATING',
    })

    await guest.qemu.execute('migrate-set-parameters', {
      'max-bandwidth': 4 * 2 ** 30,
      'downtime-limit': 5000,
    })
    const completed = await until(
      target,
      ({ state, migration }) => state === 'postmigrate' && migration?.status === 'completed',
    )
    expect(completed.migration).toMatchObject({
      status: 'completed',
      underWay: false,
      downtimeMs: expect.any(Number),
    })
    await expect(target.measureDirtyRate()).rejects.toMatchObject({
      code: 'ERR_STATE',
      message: expect.stringContaining("QEMU says 'postmigrate'"),
      hint: expect.stringContaining('destination'),
    })
    await until(destination.target, ({ state }) => state === 'running')
    const there = await destination.target.measureDirtyRate({ mode: 'dirty-bitmap', window: '1s' })
    expect(there.bytesPerSecond).toBeGreaterThan(0)
  })
})
