// The page in a real Chromium, with a real server that tells it events of the test: its states, its
// sizes, and names that want to be markup.

import { expect, it, onTestFinished } from 'vitest'
import { rate } from '../../page/format.js'
import type { DashboardEvent } from '../../ts/dashboard/events.js'
import { predictMigration } from '../../ts/prediction/index.js'
import { axeFinds, describeBrowser, openRecording, overflow, themes } from '../fixtures/browser.js'
import { curveEvent, measuredEvent, targetEvent } from '../fixtures/page-events.js'
import { startPageServer } from '../fixtures/page-server.js'

const MIB = 2 ** 20
const WAIT = { timeout: 20_000 }
const BEGIN = Date.UTC(2026, 0, 2, 3, 0, 0)
/** All that the page may take, compressed: issue 17. */
const MOST_BYTES = 150_000

/** A name that is markup, a script, and turns the text around. */
const HOSTILE = [
  '<img src=x onerror="document.title=1">',
  '"><script>document.title=1</script>',
  "javascript:alert('x')",
  '{{constructor.constructor("document.title=1")()}}',
  'a\u202egnp.exe\u0000\u001b[31m',
  '&lt;b&gt;',
]

const servePage: typeof startPageServer = async (...given) => {
  const server = await startPageServer(...given)
  onTestFinished(() => server.close())
  return server
}

const windowsOf = (target: string, rates: readonly number[]): DashboardEvent[] => [
  targetEvent(target, BEGIN),
  ...rates.map((bytes, at) => measuredEvent(target, BEGIN + (at + 1) * 1000, bytes)),
]

describeBrowser('the page', open => {
  it('takes at most 150 kB in all, and shows figures without anything from elsewhere', async () => {
    const { url } = await servePage(windowsOf('guest:idle', [5 * MIB, 6 * MIB]))
    let bytes = 0
    for (const path of ['', 'page.js', 'page.css', 'worker.js', 'icon.svg']) {
      const answer = await fetch(url + path, { headers: { 'accept-encoding': 'gzip' } })
      expect(answer.headers.get('content-encoding')).toBe('gzip')
      bytes += Number(answer.headers.get('content-length'))
      const policy = answer.headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).not.toContain('unsafe')
      // Who cannot take gzip gets the same.
      const plain = await fetch(url + path, { headers: { 'accept-encoding': 'identity' } })
      expect(plain.headers.get('content-encoding')).toBeNull()
      expect(await plain.text()).toBe(await answer.text())
    }
    expect(bytes).toBeLessThan(MOST_BYTES)
    const html = await (await fetch(url)).text()
    expect(html).not.toMatch(/<style|<script(?![^>]*src=)|\sstyle=|\son[a-z]+=/)

    const { page, asked, complaints } = await open(url)
    await expect.poll(() => page.getByTestId('rate-now').textContent(), WAIT).toBe(rate(6 * MIB))
    expect(new Set(asked.map(address => new URL(address).host)).size).toBe(1)
    expect(complaints).toEqual([])
  })

  it('shows names that are markup as they are, everywhere', async () => {
    const events = HOSTILE.flatMap((name, at): DashboardEvent[] => {
      const target = `qmp:/run/${name}`
      const time = BEGIN + at
      return [
        targetEvent(target, time, { name, software: name, state: name }),
        measuredEvent(target, time + 1000, MIB, {
          warnings: [{ code: 'RING_OVERRUN', message: name }],
          cells: {
            cellBytes: 2 * MIB,
            blocks: [{ block: name, bytes: 4 * MIB, pages: [3, 0] }],
          },
        }),
        {
          kind: 'failed',
          target,
          at: time + 2000,
          code: name,
          message: name,
          hint: name,
          retryMs: 9,
        },
      ]
    })
    const { url } = await servePage(events)
    const { page, complaints } = await open(url)
    const links = page.locator('.vm-name a')
    await expect.poll(() => links.count(), WAIT).toBe(HOSTILE.length)
    const names = await links.allTextContents()
    for (const name of HOSTILE.filter(one => !one.includes('\u0000'))) expect(names).toContain(name)
    expect(names).toContain('a\\u202egnp.exe\\x00\\x1b[31m')
    for (let at = 0; at < HOSTILE.length; at++) {
      await links.nth(at).click()
      await expect.poll(() => page.getByTestId('rate-chart').count(), WAIT).toBe(1)
      await page.getByTestId('heat-map').focus()
      await page.keyboard.press('ArrowUp')
      expect(await page.locator('main img, main script, main b b').count()).toBe(0)
      expect(await page.title()).toMatch(/dirtyrate$/)
      await page.getByRole('link', { name: 'All VMs' }).click()
      await expect.poll(() => links.count(), WAIT).toBe(HOSTILE.length)
    }
    expect(complaints).toEqual([])
  })

  it('lists VMs with rate, trend, verdict and state, and sorts them', async () => {
    const steady = new Array<number>(12).fill(80 * MIB)
    const events = [
      ...windowsOf('guest:b', steady),
      ...windowsOf(
        'guest:a',
        steady.map((bytes, at) => (bytes * (at + 1)) / 40),
      ),
      ...windowsOf('guest:c', [MIB]),
      curveEvent('guest:a', BEGIN + 20_000, 50 * MIB),
      curveEvent('guest:b', BEGIN + 20_000, 3000 * MIB, 0.2),
      targetEvent('guest:c', BEGIN + 3000, { state: 'paused' }),
    ]
    const { url } = await servePage(events)
    const { page } = await open(url)
    const names = () => page.locator('.vm-name a').allTextContents()
    await expect.poll(names, WAIT).toEqual(['guest:b', 'guest:a', 'guest:c'])
    const row = (target: string) => page.locator(`tr[data-target='${target}']`)
    expect(await row('guest:b').textContent()).toContain('steady')
    expect(await row('guest:a').textContent()).toContain('rising')
    expect(await row('guest:c').textContent()).toContain('paused')
    const link = { bandwidth: 1.25e9, downtime: 300 }
    for (const [target, bytes, seconds] of [
      ['guest:a', 50 * MIB, 1],
      ['guest:b', 3000 * MIB, 0.2],
    ] as const) {
      const event = curveEvent(target, 0, bytes, seconds)
      const { verdict } = predictMigration(event.kind === 'curve' ? event.curve : never(), link)
      await expect
        .poll(() => row(target).locator('.verdict').textContent(), WAIT)
        .toContain(verdict)
    }
    await page.getByRole('button', { name: 'VM', exact: true }).click()
    await expect.poll(names).toEqual(['guest:a', 'guest:b', 'guest:c'])
    await page.getByRole('button', { name: 'verdict' }).click()
    await expect.poll(async () => (await names())[0]).toBe('guest:b')
    expect(await page.locator('th[aria-sort=descending]').textContent()).toContain('verdict')
  })

  it('says that a curve has no prediction, and why', async () => {
    const event = curveEvent('guest:a', BEGIN + 20_000, 50 * MIB)
    if (event.kind !== 'curve') return never()
    // Nobody knows how much memory a migration would have to send.
    const { memory: _, ...curve } = event.curve
    const why = (() => {
      try {
        predictMigration(curve, { bandwidth: 1.25e9, downtime: 300 })
      } catch (error) {
        return (error as Error).message
      }
      return never()
    })()
    const events = ['guest:a', 'guest:b'].flatMap(target => windowsOf(target, [MIB]))
    const { url } = await servePage([...events, { ...event, curve }])
    const { page } = await open(url)
    const cell = page.locator("tr[data-target='guest:a'] td:nth-child(4) span")
    await expect.poll(() => cell.textContent(), WAIT).toBe('cannot be predicted')
    expect(await cell.getAttribute('title')).toBe(why)
    await page.getByRole('link', { name: 'guest:a' }).click()
    await expect.poll(() => page.getByRole('alert').textContent(), WAIT).toContain(why)
    const main = page.locator('main')
    await expect.poll(() => main.textContent()).toContain('live migrationcannot be predicted')
    expect(await main.textContent()).toContain('It cannot be predicted.')
    expect(await main.textContent()).not.toMatch(/predicting…/i)
  })

  it('says why there is no figure: no VM, paused, failed, migrating, gone', async () => {
    const target = 'guest:idle'
    const server = await servePage([])
    const { page } = await open(server.url)
    await expect
      .poll(() => page.getByRole('heading', { level: 1 }).textContent(), WAIT)
      .toBe('No VM is served')
    expect(await axeFinds(page)).toEqual([])
    server.publish(targetEvent(target, BEGIN))
    const status = page.getByTestId('status')
    await expect.poll(() => status.textContent(), WAIT).toContain('waiting')
    server.publish(measuredEvent(target, BEGIN + 1000, MIB))
    await expect.poll(() => status.textContent()).toContain('measured')
    server.publish(targetEvent(target, BEGIN + 2000, { state: 'paused' }))
    await expect.poll(() => status.textContent()).toContain('paused')
    await expect.poll(() => page.locator('main').textContent()).toContain('cannot resume it')
    server.publish(targetEvent(target, BEGIN + 3000), {
      kind: 'failed',
      target,
      at: BEGIN + 3000,
      code: 'ERR_QMP_BUSY',
      message: 'the monitor has another client',
      hint: 'End the other one.',
      retryMs: 30_000,
    })
    await expect.poll(() => status.textContent()).toContain('failed')
    const alert = page.getByRole('alert')
    await expect.poll(() => alert.textContent()).toContain('the monitor has another client')
    expect(await alert.textContent()).toContain('tried again after 30 s')
    server.publish({
      kind: 'migrating',
      target,
      at: BEGIN + 4000,
      migration: { status: 'active', underWay: true, remainingBytes: 3 * MIB, passes: 4 },
    })
    await expect.poll(() => status.textContent()).toContain('migrating')
    await expect.poll(() => page.locator('.note').textContent()).toContain('3.0 MiB')
    server.publish({ kind: 'gone', target, at: BEGIN + 5000 })
    await expect.poll(() => status.textContent()).toContain('not served')
    server.publish(targetEvent(target, BEGIN + 6000), measuredEvent(target, BEGIN + 7000, 2 * MIB))
    await expect.poll(() => status.textContent()).toContain('measured')
    await expect.poll(() => page.getByTestId('rate-now').textContent()).toBe('2.0 MiB/s')
  })

  it('says why no curve is measured, and what a typed value has to be', async () => {
    const refusal = 'the server measures no curves'
    const { url } = await servePage(windowsOf('guest:idle', [MIB]), { refusal })
    const { page } = await open(url)
    await page.getByRole('button', { name: 'Measure a curve now' }).click()
    await expect.poll(() => page.getByRole('alert').textContent(), WAIT).toContain(refusal)
    const field = page.getByLabel('Bandwidth, with its unit')
    await field.fill('25')
    await page.keyboard.press('Enter')
    await expect.poll(() => field.getAttribute('aria-invalid')).toBe('true')
    expect(await page.locator('.slider .error').textContent()).toContain('has no unit')
    await field.fill('25Gbit/s')
    await page.keyboard.press('Enter')
    await expect.poll(() => field.inputValue()).toBe('25 Gbit/s')
    expect(await page.locator('.slider .error').count()).toBe(0)
    // It is still the chosen link when the page is loaded again.
    await page.reload()
    await expect.poll(() => field.inputValue(), WAIT).toBe('25 Gbit/s')
  })

  it('opens a recording, and closes it again', async () => {
    const { url } = await servePage(windowsOf('guest:idle', [MIB]))
    const { page } = await open(url)
    await expect.poll(() => page.getByTestId('rate-now').textContent(), WAIT).toBe('1.0 MiB/s')
    await openRecording(page, windowsOf('guest:other', [3 * MIB, 7 * MIB]))
    await expect.poll(() => page.getByTestId('rate-now').textContent()).toBe('7.0 MiB/s')
    expect(await page.getByTestId('status').textContent()).toContain('measured at 03:00:02')
    expect(await page.locator('.answer').textContent()).toContain('last dirty rate')
    expect(await page.getByRole('button', { name: 'Measure a curve now' }).count()).toBe(0)
    await page.getByRole('button', { name: 'Close it' }).click()
    await expect.poll(() => page.getByTestId('rate-now').textContent()).toBe('1.0 MiB/s')
    await page.setInputFiles('input[type=file]', {
      name: 'broken.jsonl',
      mimeType: 'text/plain',
      buffer: Buffer.from('{"kind":"measured"'),
    })
    await expect.poll(() => page.getByRole('alert').textContent()).toContain('cannot be opened')
    expect(await page.getByTestId('rate-now').textContent()).toBe('1.0 MiB/s')
  })

  it.each([360, 768, 1280, 3840])('is not wider than a window of %d pixels', async width => {
    const target = `guest:stride,${'pages=40000,'.repeat(6)}rate=1MiB/s`
    const { url } = await servePage([
      ...windowsOf(target, [MIB, 1e12]),
      ...windowsOf('guest:idle', [0]),
      curveEvent(target, BEGIN + 20_000, 3000 * MIB, 0.2),
      { kind: 'failed', target, at: BEGIN + 30_000, code: 'ERR_STATE', message: 'x'.repeat(300) },
    ])
    const { page } = await open(url, { width })
    await expect.poll(() => page.locator('.vm-name a').count(), WAIT).toBe(2)
    await expect.poll(() => page.locator('.verdict').count(), WAIT).toBeGreaterThan(0)
    expect(await overflow(page)).toBe(0)
    await page.locator(`tr[data-target='${target}'] a`).click()
    await expect.poll(() => page.locator('.ways li').count(), WAIT).toBeGreaterThan(1)
    expect(await overflow(page)).toBe(0)
  })

  it.each(themes)(
    'breaks no rule of accessibility with a failed VM and ways out, %s',
    async theme => {
      const target = 'guest:idle'
      const { url } = await servePage([
        ...windowsOf(target, [MIB, 2 * MIB]),
        ...windowsOf('guest:other', [MIB]),
        curveEvent(target, BEGIN + 20_000, 3000 * MIB, 0.2),
        {
          kind: 'failed',
          target,
          at: BEGIN + 30_000,
          code: 'ERR_STATE',
          message: 'no',
          retryMs: 5,
        },
      ])
      const { page } = await open(url, { theme })
      await expect.poll(() => page.locator('.verdict').count(), WAIT).toBe(1)
      expect(await axeFinds(page)).toEqual([])
      await page.getByRole('link', { name: target }).click()
      await expect.poll(() => page.locator('.ways li').count(), WAIT).toBeGreaterThan(1)
      expect(await axeFinds(page)).toEqual([])
    },
  )
})

function never(): never {
  throw new Error('the event is no curve')
}
