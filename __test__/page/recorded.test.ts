// A recording of a real `serve`: what its page shows, what the page shows of the file, and what the
// command predicts from it.

import { join } from 'node:path'
import { expect, it } from 'vitest'
import { clock, rate, sentence } from '../../page/format.js'
import { readRecording } from '../../ts/cli/recording/read.js'
import type { PackedEvent } from '../../ts/dashboard/records.js'
import { predictMigration } from '../../ts/prediction/index.js'
import { describeBrowser, type Opened } from '../fixtures/browser.js'
import { dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { LiveClient } from '../fixtures/live-client.js'
import { startPageServer } from '../fixtures/page-server.js'
import { serving } from '../fixtures/serve-command.js'

const GUEST = 'guest:stride,pages=4096,rate=40MiB/s,memory=64MiB'
const RECORDING = ['--every', '300ms', '--window', '200ms', '--windows', '20ms,50ms,200ms']
const WAIT = { timeout: 20_000 }
const LINK = { bandwidth: '10Gbit/s', downtime: '300ms' }

type Of<Kind extends PackedEvent['kind']> = Extract<PackedEvent, { kind: Kind }>

/** Records a guest: the file, and what is in it. */
async function recorded() {
  const file = join(folder()('beside', ''), '..', 'monday.jsonl')
  await serving([GUEST, ...RECORDING, '--record', file], async metrics => {
    const client = await LiveClient.open(new URL('/', metrics).href)
    const has = (kind: PackedEvent['kind']): number =>
      client.events.filter(({ event }) => event.kind === kind).length
    await expect.poll(() => has('measured') > 8 && has('curve') > 0, WAIT).toBe(true)
  })
  const events: PackedEvent[] = []
  expect((await readRecording(file, file, event => events.push(event))).unreadable).toBe(0)
  const of = <Kind extends PackedEvent['kind']>(kind: Kind): Of<Kind>[] =>
    events.filter((event): event is Of<Kind> => event.kind === kind)
  const curve = of('curve').at(-1)?.curve
  const windows = of('measured')
  if (curve === undefined || windows.length === 0) throw new Error('the recording is empty')
  return { file, windows, curve }
}

type Recorded = Awaited<ReturnType<typeof recorded>>

/** What the page says has to be what the file has. */
async function shows({ page }: Opened, { windows, curve }: Recorded): Promise<void> {
  const [first, last] = [windows[0], windows.at(-1)]
  if (first === undefined || last === undefined) throw new Error('nothing was measured')
  await expect
    .poll(() => page.getByTestId('rate-now').textContent(), WAIT)
    .toBe(rate(last.bytesPerSecond))
  const answer = await page.locator('.answer').textContent()
  expect(answer).toContain('last dirty rate')
  // The page of the tests is in UTC.
  const offset = new Date(last.at).getTimezoneOffset() * 60_000
  expect(answer).toContain(`measured at ${clock(last.at + offset)}`)
  await expect
    .poll(() => page.getByTestId('verdict').textContent(), WAIT)
    .toContain(sentence(predictMigration(curve, LINK)))
  await page.getByRole('button', { name: 'all', exact: true }).click()
  await page.getByTestId('rate-chart').focus()
  await page.keyboard.press('Home')
  const readout = page.getByTestId('rate-readout')
  await expect.poll(() => readout.textContent()).toContain(rate(first.bytesPerSecond))
  for (let at = 1; at < windows.length; at++) await page.keyboard.press('ArrowRight')
  await expect.poll(() => readout.textContent()).toContain(rate(last.bytesPerSecond))
  // The cells of the windows are there too.
  const hottest = await page.locator('.hottest tbody tr').first().textContent()
  expect(hottest).toMatch(/^0x[0-9a-f]+/)
  expect(await page.getByRole('button', { name: 'Measure a curve now' }).count()).toBe(0)
}

describeBrowser('a recording of a server', open => {
  it('is shown by serve --recording as it was measured, and predict agrees', async () => {
    const given = await recorded()
    const { stdout } = await serving(['--recording', given.file], async url => {
      const opened = await open(url)
      await shows(opened, given)
      const connection = opened.page.getByTestId('connection')
      expect(await connection.textContent()).toContain('recording')
      expect(opened.complaints).toEqual([])
    })
    expect(stdout).toBe('')
    const link = ['--bandwidth', LINK.bandwidth, '--downtime', LINK.downtime]
    const said = await dirtyrate(['predict', '--curve', given.file, ...link, '--json'])
    const { verdict, totalMs } = predictMigration(given.curve, LINK)
    expect(JSON.parse(said.stdout)).toMatchObject({ verdict, totalMs })
  })

  it('is shown by the page of another server, which is sent nothing of it', async () => {
    const given = await recorded()
    const server = await startPageServer([])
    try {
      const opened = await open(server.url)
      await expect.poll(() => opened.page.locator('h1').textContent(), WAIT).toContain('No VM')
      const before = opened.asked.filter(url => !url.endsWith('worker.js')).length
      await opened.page.setInputFiles('input[type=file]', given.file)
      await shows(opened, given)
      expect(opened.asked.filter(url => !url.endsWith('worker.js'))).toHaveLength(before)
      expect(opened.complaints).toEqual([])
    } finally {
      await server.close()
    }
  })
})
