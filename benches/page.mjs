// How smooth the page of `dirtyrate serve` is in Chromium, and how soon it shows figures: for a VM
// of 1 TiB in 16,384 cells, and for 50 VMs, each measured ten times a second. The server is the one
// of `serve`, and the events are made here. For each case it prints the times between frames, how
// busy the main thread was, and when the first figures were painted.
//
//   node benches/page.mjs [--seconds 20] [--chromium /usr/bin/chromium]

import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { importTypeScript } from '../scripts/build/import-typescript.mjs'
import { processor } from './cpu.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
  },
})
const SECONDS = Number(values.seconds)
const EVERY_MS = 100
/** The page has seen so many windows before it is measured, so that its charts are full. */
const HISTORY = 600
const MIB = 2 ** 20
const TIB = 2 ** 40
const CELLS = 16_384
const _PAGE = 4096

const { startPageServer } = await importTypeScript('__test__/fixtures/page-server.ts')
const { curveEvent, measuredEvent, targetEvent } = await importTypeScript(
  '__test__/fixtures/page-events.ts',
)

/** Writers in a few places, a sweep, and single pages all over the memory. */
function cellsAt(step) {
  const pages = new Array(CELLS).fill(0)
  for (let cell = 0; cell < CELLS; cell++) {
    if ((cell * 7919 + step * 104_729) % 11 === 0) pages[cell] = 1 + (cell % 5)
    if (cell >= 4000 && cell < 4200) pages[cell] = 9000 + ((cell * 31 + step * 17) % 3000)
  }
  const sweep = (step * 23) % CELLS
  for (let cell = sweep; cell < Math.min(sweep + 40, CELLS); cell++) pages[cell] += 700
  const blocks = [{ block: 'pc.ram', guestAddress: 0, bytes: TIB, pages }]
  return { cellBytes: TIB / CELLS, blocks }
}

const short = { requestedMs: 100, windowNs: 1e8 }
const rateAt = (step, of) => (80 + of * 3 + 20 * Math.sin(step / 9 + of)) * MIB

const cases = {
  'a VM of 1 TiB in 16,384 cells': {
    first: '[data-testid=rate-now]',
    begin: at => [
      targetEvent('guest:large', at, { memoryBytes: TIB, vcpus: 64 }),
      curveEvent('guest:large', at, 4000 * MIB, 2),
    ],
    at: (step, at) => {
      const rate = rateAt(step, 0) * 100
      const interval = { low: rate * 0.9, high: rate * 1.1, confidence: 0.95 }
      const cells = cellsAt(step)
      return [measuredEvent('guest:large', at, rate, { ...short, interval, cells })]
    },
  },
  '50 VMs': {
    first: '.vm-rate b',
    begin: at =>
      numbers(50).flatMap(of => [
        targetEvent(`guest:${of}`, at),
        curveEvent(`guest:${of}`, at, (50 + 40 * of) * MIB, 1),
      ]),
    at: (step, at) =>
      numbers(50).map(of => measuredEvent(`guest:${of}`, at + of, rateAt(step, of), short)),
  },
}

function numbers(count) {
  return Array.from({ length: count }, (_, at) => at)
}

/** Notes when an element has its first figures, and the time of each frame. */
const WATCH = selector => `
  globalThis.frames = []
  const look = () => {
    const text = document.querySelector(${JSON.stringify(selector)})?.textContent ?? ''
    // The frame after the next one begins when this one was painted.
    if (/[0-9]/.test(text))
      requestAnimationFrame(() => requestAnimationFrame(at => { globalThis.figuresAt ??= at }))
    else requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
  const frame = at => { globalThis.frames.push(at); requestAnimationFrame(frame) }
  requestAnimationFrame(frame)`

const quantile = (sorted, part) =>
  sorted[Math.min(Math.floor(part * sorted.length), sorted.length - 1)]

async function measure(browser, { begin, at, first }) {
  const start = Date.now() - HISTORY * EVERY_MS
  const past = numbers(HISTORY).flatMap(step => at(step, start + step * EVERY_MS))
  const server = await startPageServer([...begin(start), ...past])
  const page = await browser.newPage({ viewport: { width: 1920, height: 1080 } })
  await page.addInitScript(WATCH(first))
  await page.goto(server.url)
  // The policy of the page forbids to wait in the page.
  let figuresMs
  while (figuresMs === undefined) {
    await page.waitForTimeout(20)
    figuresMs = await page.evaluate('globalThis.figuresAt')
  }
  // The predictions of the first moments are done by then.
  await page.waitForTimeout(5000)
  const session = await page.context().newCDPSession(page)
  await session.send('Performance.enable')
  const taskSeconds = async () => {
    const { metrics } = await session.send('Performance.getMetrics')
    return metrics.find(({ name }) => name === 'TaskDuration').value
  }
  let step = HISTORY
  const timer = setInterval(() => server.publish(...at(step++, Date.now())), EVERY_MS)
  await page.waitForTimeout(1000)
  await page.evaluate('globalThis.frames.length = 0')
  const busyBefore = await taskSeconds()
  await page.waitForTimeout(SECONDS * 1000)
  const busy = ((await taskSeconds()) - busyBefore) / SECONDS
  const frames = await page.evaluate('globalThis.frames')
  clearInterval(timer)
  await page.close()
  await server.close()
  const times = frames.slice(1).map((frame, before) => frame - frames[before])
  times.sort((a, b) => a - b)
  return { figuresMs, busy, times }
}

console.log(processor())
const args = process.getuid() === 0 ? ['--no-sandbox'] : []
const browser = await chromium.launch({ executablePath: values.chromium, args })
console.log(`Chromium ${browser.version()}, 1920 x 1080, ${SECONDS} s, ten windows a second\n`)
console.log('| case | first figures | frame: median | 95 % | 99 % | longest | main thread |')
console.log('|---|---|---|---|---|---|---|')
for (const [name, one] of Object.entries(cases)) {
  const { figuresMs, busy, times } = await measure(browser, one)
  const ms = value => `${value.toFixed(1)} ms`
  const parts = [0.5, 0.95, 0.99, 1].map(part => ms(quantile(times, part)))
  console.log(
    `| ${name} | ${Math.round(figuresMs)} ms | ${parts.join(' | ')} | ${Math.round(busy * 100)} % |`,
  )
}
await browser.close()
