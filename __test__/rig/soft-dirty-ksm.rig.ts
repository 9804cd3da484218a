/**
 * Soft-dirty bits of pages that the kernel merges because they have the same contents, and that it
 * separates again (KSM). In a rig nobody else needs KSM as it was.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { openTarget, type Target, type Warning } from '../../ts/index.js'
import { sleep } from '../fixtures/machine.js'
import { inTime, Writer } from '../fixtures/writer.js'

const KSM = '/sys/kernel/mm/ksm'
const MEMORY_BYTES = 4 * 2 ** 20
const SAME = 200
/** The pages that have the same contents. */
const SAME_PAGES = [0, 1, SAME] as const
/** The same once more, with other contents. */
const OTHER_PAGES = [300, 1, SAME] as const
const PATIENCE_MS = 120_000
const LONG = { timeout: 600_000 }

/** What KSM does: nothing, merge, or separate all that is merged. */
const RUN = { off: 0, on: 1, separate: 2 } as const

function set(name: string, value: number): void {
  writeFileSync(`${KSM}/${name}`, String(value))
}

const run = (what: keyof typeof RUN): void => set('run', RUN[what])

/** How many pages of the process are merged with others. */
const merged = ({ pid }: Writer): number =>
  Number(readFileSync(`/proc/${pid}/ksm_merging_pages`, 'utf8'))

/** Resolves with whether so many pages of the process are merged in time. */
async function hasMerged(writer: Writer, pages: number, patienceMs: number): Promise<boolean> {
  for (const deadline = performance.now() + patienceMs; performance.now() < deadline; ) {
    if (merged(writer) >= pages) return true
    await sleep(10)
  }
  return false
}

/** A process with merged pages, and its target. KSM goes on. */
async function mergedProcess(): Promise<{ writer: Writer; target: Target }> {
  const writer = await Writer.start(MEMORY_BYTES)
  await writer.advise('mergeable')
  await writer.write(...SAME_PAGES, 7)
  run('on')
  expect(await hasMerged(writer, SAME, PATIENCE_MS)).toBe(true)
  const target = await openTarget(`pid:${writer.pid},range=${writer.range}`)
  onTestFinished(() => target.close())
  return { writer, target }
}

const codesOf = ({ warnings }: { warnings: readonly Warning[] }): string[] =>
  warnings.map(({ code }) => code).filter(code => code !== 'WINDOW_MISMATCH')

beforeAll(() => {
  set('sleep_millisecs', 5)
  set('pages_to_scan', 2000)
})
afterAll(() => run('separate'))

it('merging loses bits, which is said, and never makes any', LONG, async () => {
  const { writer, target } = await mergedProcess()
  const idle = await target.measureDirtyRate({ mode: 'soft-dirty', window: '300ms' })
  const bounds = { complete: false, interval: { low: 0, high: null, confidence: 1 } }
  expect(idle).toMatchObject({ pages: 0, ...bounds })
  expect(codesOf(idle)).toEqual(['WRITES_UNSEEN'])

  const result = await inTime(async windowMs => {
    let isInTime = false
    const { result, openings } = await writer.during(
      () => target.measureDirtyRate({ mode: 'soft-dirty', window: windowMs }),
      async () => {
        await writer.write(...OTHER_PAGES, 9)
        isInTime = await hasMerged(writer, 2 * SAME, windowMs)
      },
    )
    return isInTime && openings.every(({ notBefore, done }) => done <= notBefore + windowMs)
      ? result
      : undefined
  })
  expect(result.pages).toBeLessThan(SAME)
  expect(result).toMatchObject({ complete: false, interval: { high: null } })
  expect(codesOf(result)).toContain('WRITES_UNSEEN')
})

it('pages that were merged before count when they are written', LONG, async () => {
  const { writer, target } = await mergedProcess()
  run('off')
  const result = await inTime(async windowMs => {
    const { result, openings } = await writer.during(
      () => target.measureDirtyRate({ mode: 'soft-dirty', window: windowMs }),
      () => writer.write(10, 2, 50, 8),
    )
    return openings.every(({ notBefore, done }) => done <= notBefore + windowMs)
      ? result
      : undefined
  })
  expect(result).toMatchObject({ pages: 50, complete: true })
  expect(codesOf(result)).toEqual([])
})

it.each([
  ['for the host', async () => run('separate')],
  ['for the process', (writer: Writer) => writer.advise('unmergeable')],
])('nothing is said if merging ends %s within the window', LONG, async (_, end) => {
  const { writer, target } = await mergedProcess()
  run('off')
  const measured = writer.during(
    () => target.measureDirtyRate({ mode: 'soft-dirty', window: '3s' }),
    () => end(writer),
  )
  await expect(measured).rejects.toMatchObject({
    code: 'ERR_STATE',
    message: expect.stringContaining('KSM'),
    hint: expect.stringContaining('page-sampling'),
  })
  // This is why: the process has not written the page.
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const counts = major < 6 || (major === 6 && minor < 2)
  expect(writer.isWritten(SAME_PAGES[0])).toBe(counts)
})
