// The page in a real Chromium, with a real `serve` and a real VM behind it.

import { expect, it } from 'vitest'
import { pagesPerSecond, rate, sentence } from '../../page/format.js'
import { paletteOf } from '../../page/heat/palette.js'
import { levelOf, scaleFor } from '../../page/heat/scale.js'
import { layoutOf, pagesOf } from '../../page/state/cells.js'
import { columnsOf } from '../../ts/dashboard/packed-cells.js'
import type { EventRecord } from '../../ts/dashboard/records.js'
import { predictMigration } from '../../ts/prediction/index.js'
import {
  axeFinds,
  describeBrowser,
  type Opened,
  type OpenOptions,
  pixelAt,
  themes,
} from '../fixtures/browser.js'
import { LiveClient } from '../fixtures/live-client.js'
import { freePort } from '../fixtures/qemu.js'
import { serving } from '../fixtures/serve-command.js'

/** It writes 16 MiB behind its own memory, in the order of the addresses, again and again. */
const PAGES = 4096
const GUEST = `guest:stride,pages=${PAGES},rate=40MiB/s,memory=64MiB,vcpus=2`
const FAST = ['--every', '300ms', '--window', '200ms', '--curve-every', '1h']
const WINDOWS = ['--windows', '20ms,50ms,200ms']
const WAIT = { timeout: 20_000 }
const TOKEN = '00112233445566778899aabbccddeeff'

type Measured = Extract<EventRecord['event'], { kind: 'measured' }>

const measuredIn = (client: LiveClient): Measured[] =>
  client.events.flatMap(({ event }) => (event.kind === 'measured' ? [event] : []))

describeBrowser('the page, with a VM', open => {
  /** A server of a guest, its page, and a client of our own that hears the same events. */
  const watching = (
    use: (given: Opened & { client: LiveClient; url: string }) => Promise<unknown>,
    options: OpenOptions = {},
  ) =>
    serving([GUEST, ...FAST, ...WINDOWS], async metrics => {
      const url = new URL('/', metrics).href
      const client = await LiveClient.open(url)
      await expect.poll(() => measuredIn(client).length, WAIT).toBeGreaterThan(4)
      const opened = await open(url, options)
      await expect
        .poll(() => opened.page.getByTestId('rate-now').textContent(), WAIT)
        .toMatch(/B\/s/)
      await use({ ...opened, client, url })
    })

  it('shows the figures of the API, asks nobody else, and breaks no rule of its server', async () => {
    await watching(async ({ page, client, url, asked, complaints }) => {
      // The first window stays the first one.
      await page.getByRole('button', { name: 'all', exact: true }).click()
      await page.getByTestId('rate-chart').focus()
      await page.keyboard.press('Home')
      const [first] = measuredIn(client)
      if (first === undefined) throw new Error('nothing was measured')
      await expect
        .poll(() => page.getByTestId('rate-readout').textContent(), WAIT)
        .toContain(`${rate(first.bytesPerSecond)}exact · window of`)
      // What the page says in large figures is the newest window, or one that the page had before.
      const shown = await page.getByTestId('rate-now').textContent()
      expect(measuredIn(client).map(({ bytesPerSecond }) => rate(bytesPerSecond))).toContain(shown)

      const curve = client.events.flatMap(({ event }) => (event.kind === 'curve' ? [event] : []))[0]
      if (curve === undefined) throw new Error('there is no curve')
      const link = { bandwidth: 1.25e9, downtime: 300 }
      const verdict = page.getByTestId('verdict')
      await expect
        .poll(() => verdict.textContent(), WAIT)
        .toContain(sentence(predictMigration(curve.curve, link)))

      // A link that is slower than the guest, by the keyboard alone.
      await page.getByRole('slider', { name: 'Bandwidth' }).focus()
      await page.keyboard.press('Home')
      const slow = predictMigration(curve.curve, { bandwidth: 1e7 / 8, downtime: 300 })
      await expect.poll(() => verdict.textContent(), WAIT).toContain(sentence(slow))
      const ways = await page.locator('.way-kind').allTextContents()
      expect(ways).toEqual(slow.waysOut.map(({ kind }) => kind))
      await expect.poll(() => page.getByTestId('crossing').count()).toBe(0)

      const { host } = new URL(url)
      expect(new Set(asked.map(address => new URL(address).host))).toEqual(new Set([host]))
      expect(complaints).toEqual([])
    })
  })

  it('measures a curve when it is asked to, and nothing else', async () => {
    await watching(async ({ page, client }) => {
      const curves = () => client.events.filter(({ event }) => event.kind === 'curve').length
      await expect.poll(curves, WAIT).toBe(1)
      await page.getByRole('button', { name: 'Measure a curve now' }).click()
      await expect.poll(curves, WAIT).toBe(2)
      await expect
        .poll(() => page.getByRole('button', { name: 'Measure a curve now' }).isEnabled(), WAIT)
        .toBe(true)
      const buttons = await page.getByRole('button').allTextContents()
      expect(buttons.filter(text => /pause|stop|resume|shut|migrate/i.test(text))).toEqual([])
    })
  })

  it('draws in each cell of its heat map what the guest wrote there', async () => {
    await watching(async ({ page, client }) => {
      await page.getByRole('button', { name: 'all', exact: true }).click()
      // A chosen part of the time stands still: the first half of what there is.
      const box = await page.locator('[data-testid=rate-chart] .u-over').boundingBox()
      if (box === null) throw new Error('there is no chart')
      await page.mouse.move(box.x + 1, box.y + 20)
      await page.mouse.down()
      await page.mouse.move(box.x + box.width / 2, box.y + 30, { steps: 5 })
      await page.mouse.up()
      await expect.poll(() => page.getByRole('button', { name: 'Follow' }).count(), WAIT).toBe(1)
      await page.getByTestId('heat-map').focus()
      await page.keyboard.press('Home')
      const readout = page.getByTestId('heat-readout')
      await expect.poll(() => readout.textContent(), WAIT).toContain('pages/s')
      const first = measuredIn(client).find(({ cells }) => cells !== undefined)
      if (first?.cells === undefined) throw new Error('there are no cells')
      const layout = layoutOf(first.cells, undefined)
      const seconds = first.windowNs / 1e9
      const pages = pagesOf({
        at: first.at,
        from: first.at - seconds * 1000,
        seconds,
        complete: true,
        layout,
        packed: first.cells,
      })
      // 64 MiB are 32 cells of 2 MiB. The guest writes in 8 or 9 of them, one after the other.
      expect(pages).toHaveLength(32)
      const palette = paletteOf('light')
      const colours = await Promise.all(
        Array.from(pages, (_, cell) => pixelAt(page, 0.001, (cell + 0.5) / 32)),
      )
      const ticks = await page.locator('.legend-ramp span').allTextContents()
      const number = (text = ''): number =>
        Number(text.replace('k', '')) * (text.endsWith('k') ? 1000 : 1)
      const scale = { low: number(ticks[0]), high: number(ticks.at(-1)) }
      // It is the scale of some windows from the first one on.
      const rates = measuredIn(client).map(({ cells, windowNs }) =>
        (cells === undefined ? [] : columnsOf(cells))
          .flatMap(block => [...block.pages])
          .filter(count => count > 0)
          .map(count => (count * 1e9) / windowNs),
      )
      const scales = rates.map((_, at) => {
        const until = rates.slice(0, at + 1).flat()
        return scaleFor(Math.min(...until), Math.max(...until))
      })
      expect(scales).toContainEqual(scale)
      expect(colours).toEqual(
        Array.from(pages, count => palette.levels[levelOf(count / seconds, scale)]),
      )
      // The guest's own pattern: nothing is written behind its pages.
      const behind = 1 + Math.ceil((PAGES * 4096) / 2 ** 21)
      expect(new Set(colours.slice(behind + 1))).toEqual(new Set([palette.levels[0]]))
      expect(colours.slice(1, behind).some(colour => colour !== palette.levels[0])).toBe(true)

      // The cursor says the figures of its cell, one cell after the other.
      for (let step = 0; step < 40; step++) await page.keyboard.press('ArrowUp')
      for (let cell = 0; cell < 10; cell++) {
        const count = pages[cell] ?? 0
        await expect
          .poll(() => readout.textContent(), WAIT)
          .toContain(`: ${pagesPerSecond(count / seconds)} pages/s`)
        expect(await readout.textContent()).toContain(`0x${(cell * 2 ** 21).toString(16)}`)
        await page.keyboard.press('ArrowDown')
      }
    })
  })

  it.each(themes)('breaks no rule of accessibility, %s', async theme => {
    await watching(
      async ({ page }) => {
        await expect.poll(() => page.locator('.matrix').count(), WAIT).toBe(1)
        await expect.poll(() => page.getByTestId('verdict').count(), WAIT).toBe(1)
        expect(await axeFinds(page)).toEqual([])
      },
      { theme },
    )
  })
})

describeBrowser('the connection of the page', open => {
  it('comes again when the server does, with what it knew before', async () => {
    const listen = ['--listen', `127.0.0.1:${await freePort()}`]
    const serve = (use: (url: string) => Promise<unknown>) =>
      serving([...listen, GUEST, ...FAST, ...WINDOWS], async metrics =>
        use(new URL('/', metrics).href),
      )
    let opened: Opened | undefined
    await serve(async url => {
      opened = await open(url)
      const { page } = opened
      await expect.poll(() => page.getByTestId('rate-now').textContent(), WAIT).toMatch(/B\/s/)
      await expect.poll(() => page.getByTestId('connection').textContent()).toContain('live')
    })
    const page = opened?.page
    if (page === undefined) throw new Error('there is no page')
    const connection = page.getByTestId('connection')
    await expect.poll(() => connection.textContent(), WAIT).toContain('no connection since')
    expect(await page.getByTestId('rate-now').textContent()).toMatch(/B\/s/)
    expect(await page.getByTestId('status').textContent()).toContain('last measured at')
    expect(await page.locator('.answer').textContent()).toContain('last dirty rate')
    await serve(async () => {
      await page.getByRole('button', { name: 'Try now' }).click()
      await expect.poll(() => connection.textContent(), WAIT).toContain('live')
      // It was not told what was between the two servers.
      await expect
        .poll(() => page.getByTestId('status').textContent(), WAIT)
        .toContain('measured now')
    })
  })

  it('asks for the token, says that one is wrong, and takes the right one', async () => {
    const env = { DIRTYRATE_TOKEN: TOKEN }
    await serving(
      [GUEST, ...FAST, ...WINDOWS],
      async metrics => {
        const { page } = await open(new URL('/', metrics).href)
        const form = page.getByLabel('Token')
        await expect.poll(() => form.count(), WAIT).toBe(1)
        expect(await axeFinds(page)).toEqual([])
        await form.fill('not the right token at all')
        await page.keyboard.press('Enter')
        await expect.poll(() => page.getByRole('alert').textContent()).toContain('did not take')
        await form.fill(TOKEN)
        await page.keyboard.press('Enter')
        await expect.poll(() => page.getByTestId('rate-now').textContent(), WAIT).toMatch(/B\/s/)
        // The token is nowhere in an address.
        expect(page.url()).not.toContain(TOKEN)
      },
      { env },
    )
  })
})
