/** deploy/prometheus/: Prometheus accepts the files, and the rules know metrics that there are. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { families, type MetricName } from '../../ts/metrics/families.js'
import { root, run } from '../fixtures/command.js'
import { describeInstalled } from '../fixtures/installed-programs.js'

const folder = join(root, 'deploy/prometheus')
const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
const alerts = [
  ...new Set([...read('rules.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name)),
]

describeInstalled('promtool', 'promtool', () => {
  it('accepts the rules', async () => {
    const { status, stdout, stderr } = await run('promtool', [
      ...['check', 'rules', '--lint-fatal', join(folder, 'rules.yml')],
    ])
    const said = `${stdout}${stderr}`
    expect(status, said).toBe(0)
    expect(said).toContain('SUCCESS: 11 rules found')
  })

  it('finds that the rules do what their tests say', async () => {
    const { status, stdout, stderr } = await run('promtool', [
      ...['test', 'rules', join(folder, 'rules.test.yml')],
    ])
    expect(status, `${stdout}${stderr}`).toBe(0)
  })

  it('finds that a test fails if an alert is not what it was', async () => {
    const copy = mkdtempSync(join(tmpdir(), 'dirtyrate-rules-'))
    onTestFinished(() => rmSync(copy, { recursive: true, force: true }))
    writeFileSync(join(copy, 'rules.test.yml'), read('rules.test.yml'))
    for (const [expression, other] of [
      ['verdict="stalls"', 'verdict="converges"'],
      ['> 0.1\n', '> 0.3\n'],
      ['1.1 * dirtyrate_budget_ratio', '11 * dirtyrate_budget_ratio'],
      ['stretch_ratio > 3', 'stretch_ratio > 1'],
      ['reload_successful == 0', 'reload_successful == 1'],
      ['discovery_successful == 0', 'discovery_successful == 1'],
      ['timestamp_seconds > 600', 'timestamp_seconds > 6000'],
      ['unless on (instance, job, target) dirtyrate_migration_active == 1', ''],
      ['up{job="dirtyrate"} == 0', 'up == 0'],
      ['> deriv(', '< deriv('],
      ['/ rate(dirtyrate_measured_seconds_total[10m])', '/ 600'],
    ] as const) {
      const rules = read('rules.yml')
      expect(rules).toContain(expression)
      writeFileSync(join(copy, 'rules.yml'), rules.replace(expression, other))
      const { status } = await run('promtool', ['test', 'rules', join(copy, 'rules.test.yml')])
      expect(status, expression).toBe(1)
    }
  })

  it('accepts the configuration', async () => {
    const { status, stdout, stderr } = await run('promtool', [
      ...['check', 'config', '--syntax-only', join(folder, 'scrape.yml')],
    ])
    expect(status, `${stdout}${stderr}`).toBe(0)
  })
})

describe('the rules', () => {
  it.each(['rules.yml', 'rules.test.yml'])(
    'name only metrics and labels that there are: %s',
    name => {
      const used = [...read(name).matchAll(/\b((?:dirtyrate|process)_[a-z_0-9]+)(?:\{([^}]*)\})?/g)]
      const selectors = used.filter(
        ([metric]) => !/^dirtyrate_(cpu|errors_total says)/.test(metric),
      )
      expect(selectors.length).toBeGreaterThan(8)
      for (const [, metric = '', selector = ''] of selectors) {
        if (/^dirtyrate_(cpu|dirty_rate_bytes_per_second)$/.test(metric)) continue
        const family = families[metric as MetricName]
        expect(family, metric).toBeDefined()
        const labels = [...selector.matchAll(/(\w+)="/g)].map(([, label]) => label)
        // Prometheus adds the first two.
        expect(['job', 'instance', ...(family?.labels ?? [])]).toEqual(
          expect.arrayContaining(labels),
        )
      }
    },
  )

  it('have a test for each alert, in which it fires and in which it does not', () => {
    expect(alerts.length).toBeGreaterThan(4)
    for (const alert of alerts) {
      const cases = read('rules.test.yml').split('eval_time: ').slice(1)
      const ofAlert = cases.filter(text => text.includes(`alertname: ${alert}\n`))
      const fires = ofAlert.map(text => text.includes('exp_alerts:'))
      expect([fires.includes(true), fires.includes(false)], alert).toEqual([true, true])
    }
  })

  it('are explained in deploy/README.md, each alert with what to do', () => {
    const rows = readFileSync(join(root, 'deploy/README.md'), 'utf8').match(
      /(?<=^\| `)Dirtyrate\w+/gm,
    )
    expect(rows).toEqual(alerts)
  })
})
