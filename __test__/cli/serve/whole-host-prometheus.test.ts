/** A Prometheus scrapes `serve --config` while a VM appears, vanishes, and comes again. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { workload } from '../../../ts/index.js'
import { describeInstalled } from '../../fixtures/installed-programs.js'
import { MEMORY } from '../../fixtures/machine.js'
import { served, startedPrometheus } from '../../fixtures/prometheus.js'
import { type QemuGuest, startQemu } from '../../fixtures/qemu.js'

const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY}`

describeInstalled('prometheus', 'a Prometheus', () => {
  it('has the series of each VM for as long as it is there', { timeout: 240_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-host-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'serve.yaml')
    writeFileSync(
      file,
      JSON.stringify({
        every: '300ms',
        window: '100ms',
        'curve-every': 'never',
        budget: '100%',
        discovery: { every: '1s', qmp: [{ sockets: `${folder}/*.sock` }] },
        targets: [{ target: guest, name: 'mine' }],
      }),
    )
    const started = (): Promise<QemuGuest> => {
      const args = ['-qmp', `unix:${folder}/vm.sock,server=on,wait=off`]
      return startQemu(workload.stride({ pages: 1000 }), { mib: 64, args })
    }
    const { host } = new URL(await served(['--config', file]))
    const { numberOf, above } = await startedPrometheus({
      configuration: `scrape_configs:
  - job_name: dirtyrate
    scrape_interval: 500ms
    static_configs: [{ targets: ['${host}'] }]
`,
    })
    const theirs = `target="qmp:${folder}/vm.sock"`
    const measured = `dirtyrate_measurements_total{${theirs}, result="complete"}`
    await above('count_over_time(dirtyrate_target_up{target="mine"}[1m])', 3)
    expect(await numberOf('dirtyrate_targets')).toBe(1)
    const first = await started()
    onTestFinished(() => first.end())
    await above(measured, 5)
    await first.end()
    // The end of a series is known with the next scrape, and not after five minutes.
    await above('dirtyrate_targets < bool 2', 0)
    expect(await numberOf(`dirtyrate_target_up{${theirs}}`)).toBeNaN()
    const before = await numberOf(`max_over_time(${measured}[5m])`)
    const second = await started()
    onTestFinished(() => second.end())
    await above(measured, 1)
    // The new counter begins at 0, which is one reset, and nothing of the first VM is lost or
    // counted twice.
    expect(await numberOf(`resets(${measured}[5m])`)).toBe(1)
    expect(await numberOf(measured)).toBeLessThan(before)
    // The one that stayed has no reset, and its counts are true.
    expect(await numberOf('resets(dirtyrate_dirty_bytes_total{target="mine"}[5m])')).toBe(0)
    const at = await numberOf('timestamp(dirtyrate_target_up{target="mine"})')
    const [dirty = Number.NaN, low, high] = await Promise.all(
      [
        'dirtyrate_dirty_bytes_total{target="mine"}',
        'dirtyrate_truth_bytes_total{bound="low"}',
        'dirtyrate_truth_bytes_total{bound="high"}',
      ].map(query => numberOf(`${query} @ ${at}`)),
    )
    expect(dirty).toBeGreaterThanOrEqual(low as number)
    expect(dirty).toBeLessThanOrEqual(high as number)
    expect(await numberOf('dirtyrate_budget_ratio')).toBe(1)
    expect(await numberOf('dirtyrate_config_last_reload_successful')).toBe(1)
  })
})
