// node benches/plan.mjs [--vms N]: how long it takes to plan a fleet of synthetic VMs, 50 on each
// host, and how long hosts take to be emptied by a plan and by simple orders, which the simulation
// of single pages of the tests plays. Needs dist/: npm run build.

import { parseArgs } from 'node:util'
import { planMigrations } from '../dist/prediction/index.js'
import { importTypeScript } from '../scripts/build/import-typescript.mjs'
import { processor } from './cpu.mjs'
import { fleet } from './fleet.mjs'

const { values } = parseArgs({
  options: { vms: { type: 'string', default: '10000' }, hosts: { type: 'string', default: '40' } },
})
const PER_HOST = 50
const SEED = 7
const METHODS = {
  downtime: '300ms',
  methods: ['live', 'more-downtime', 'post-copy'],
  mostDowntime: '2s',
}
const LINKS = [
  { bandwidth: '10Gbit/s', overhead: '2s' },
  { bandwidth: '25Gbit/s', bandwidthPerVm: '10Gbit/s', overhead: '2s' },
]
/** The part of the link that one migration can use, and how many seconds it prepares. */
const KINDS = [
  [1, 0],
  [1, 2],
  [0.4, 0],
  [0.4, 2],
  [0.25, 1],
]

const percent = part => `${Math.round(part * 100)} %`
const sum = (list, of) => list.reduce((all, one) => all + of(one), 0)

console.log(processor())
console.log('\n| link | VMs | planned in | CPU for each VM | total, of one by one |')
console.log('|---|---|---|---|---|')
const hosts = fleet(Math.ceil(Number(values.vms) / PER_HOST), PER_HOST, SEED)
for (const link of LINKS) {
  const [begin, cpu] = [performance.now(), process.cpuUsage()]
  const plans = hosts.map(vms => planMigrations(vms, { ...METHODS, ...link }))
  const seconds = (performance.now() - begin) / 1000
  const used = process.cpuUsage(cpu).user / 1e3 / (hosts.length * PER_HOST)
  const part = sum(plans, one => one.totalMs.value) / sum(plans, one => one.oneByOneMs)
  const { bandwidth, bandwidthPerVm = bandwidth } = link
  console.log(
    `| ${bandwidth}, ${bandwidthPerVm} for each | ${hosts.length * PER_HOST} on ${hosts.length} hosts | ${seconds.toFixed(1)} s | ${used.toFixed(2)} ms | ${percent(part)} |`,
  )
}

const { byPlan, bySimpleOrder, hostOf, simpleOrders } = await importTypeScript(
  '__test__/prediction/hosts.ts',
)
const orders = Object.keys(simpleOrders)
const titles = orders.map(order => `${order}: total, mean`)
console.log(
  `\n| each may use, prepares | plan: predicted, of simulated | ${titles.join(' | ')} | longest total of all at once |`,
)
console.log(`|---|---|${orders.map(() => '---|').join('')}---|`)
for (const [perVm, overhead] of KINDS) {
  const played = Array.from({ length: Number(values.hosts) }, (_, seed) => {
    const host = hostOf(8 + (seed % 9), seed + 1, perVm, overhead)
    return { host, ...byPlan(host) }
  })
  const errors = played.map(({ plan, played: own }) =>
    Math.abs(plan.totalMs.value / 1000 / own.seconds - 1),
  )
  const cells = orders.map(order => {
    const theirs = played.map(({ host, plan }) => bySimpleOrder(host, order, plan))
    const part = of => sum(played, one => of(one.played)) / sum(theirs, of)
    const each = played.map((one, at) => one.played.seconds / theirs[at].seconds)
    return {
      text: `${percent(part(one => one.seconds))}, ${percent(part(one => one.meanSeconds))}`,
      range: `${percent(Math.min(...each))} to ${percent(Math.max(...each))}`,
    }
  })
  const mean = sum(errors, error => error) / errors.length
  console.log(
    `| ${percent(perVm)}, ${overhead} s | ${(mean * 100).toFixed(1)} % off on average, ${(Math.max(...errors) * 100).toFixed(1)} % at most | ${cells.map(({ text }) => text).join(' | ')} | ${cells.at(-1).range} |`,
  )
}
