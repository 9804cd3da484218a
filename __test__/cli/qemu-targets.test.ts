/** The commands on a VM of a real QEMU, whose `auto` is page sampling. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { workload } from '../../ts/index.js'
import { dirtyrate } from '../fixtures/command.js'
import { describeWith } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { type QemuGuest, startQemu } from '../fixtures/qemu.js'

const idle = `guest:idle,memory=${MEMORY}`
let guest: QemuGuest

describeWith('qemu-system-x86_64', 'a VM of QEMU, with KVM', () => {
  beforeAll(async () => {
    guest = await startQemu(workload.stride({ pages: 10_240 }))
    await guest.atWork()
  }, 120_000)
  afterAll(() => guest.end())

  it('takes the options of page sampling without --mode', async () => {
    const byMonitor = ['calc', `qmp:${guest.path}`, '--window', '100ms', '--sample-pages', '128']
    const { status, stdout } = await dirtyrate([...byMonitor, '--json'])
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      mode: 'page-sampling',
      qapi: { 'sample-pages': 128 },
    })
    const options = ['--design', 'simple-random', '--interval', 'clopper-pearson', '--seed', '7']
    const pid = `pid:${guest.qemu.pid}`
    const outside = await dirtyrate(['calc', pid, '--window', '50ms', ...options, '--json'])
    expect(outside.status).toBe(0)
    expect(JSON.parse(outside.stdout)).toMatchObject({ mode: 'page-sampling' })
  })

  it('is not measured if another target would have to ignore such an option', async () => {
    for (const mode of [[idle], ['--mode', 'dirty-bitmap']]) {
      const args = ['calc', `qmp:${guest.path}`, ...mode, '--sample-pages', '128']
      const { status, stdout, stderr } = await dirtyrate(args)
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
      expect(stderr).toBe(
        'dirtyrate: --sample-pages: used only in page-sampling mode\nGive --mode page-sampling too.\n',
      )
    }
  })

  it('has regions only from outside', async () => {
    const rows = ['--windows', '50ms', '--csv', '--rows', 'regions']
    const { status, stdout, stderr } = await dirtyrate(['curve', `qmp:${guest.path}`, ...rows])
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toBe(
      'dirtyrate: --rows: nobody says in which regions the dirty pages of this target are\n' +
        'Leave it out, or measure the process of the VM: pid:PID, or libvirt:NAME,outside=yes.\n',
    )
    const outside = await dirtyrate(['curve', `pid:${guest.qemu.pid}`, ...rows])
    expect(outside.status).toBe(0)
    expect(outside.stdout.match(/\r\n/g)?.length).toBeGreaterThan(1)
  })

  it('has the bounds of a rate in whole MiB/s in each text', async () => {
    const exact = [`qmp:${guest.path}`, '--mode', 'dirty-bitmap']
    const texts = await Promise.all([
      dirtyrate(['calc', ...exact, '--window', '200ms']),
      dirtyrate(['calc', ...exact, idle, '--window', '200ms']),
    ])
    texts.push(await dirtyrate(['curve', ...exact, '--windows', '200ms']))
    texts.push(await dirtyrate(['watch', ...exact, '--every', '200ms', '--count', '1']))
    for (const { status, stdout } of texts) {
      expect(status).toBe(0)
      const [, rate, low, high] =
        /^(?:.*\s)?(\d+\.0) MiB\/s(?:.|\n)*?\s(\d+\.0) to (\d+\.0) MiB\/s(?! \()/.exec(stdout) ?? []
      expect([low, Number(high)]).toEqual([rate, Number(rate) + 1])
    }
    // The other target of the second text has a rate that is exact.
    expect(texts[1]?.stdout).toMatch(new RegExp(`^${idle} .* exact `, 'm'))
  })
})
