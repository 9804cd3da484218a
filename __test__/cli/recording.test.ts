/** Recordings: what is written, what a full disk and a cut line do, and what reads them. */

import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  constants,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { text } from 'node:stream/consumers'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readRecording } from '../../ts/cli/recording/read.js'
import { RecordingFile } from '../../ts/cli/recording/write.js'
import { parseLine } from '../../ts/dashboard/recording.js'
import { dirtyrate } from '../fixtures/command.js'
import { measuredEvent } from '../fixtures/dashboard.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { LiveClient } from '../fixtures/live-client.js'
import { MEMORY } from '../fixtures/machine.js'
import { serving } from '../fixtures/serve-command.js'

const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY}`
const other = `guest:idle,memory=${MEMORY}`
const FAST = ['--every', '200ms', '--window', '100ms']
const CODE = { code: 'ERR_ARGUMENT' }

const notes: string[] = []
const options = { version: '0.1.0', note: (text: string) => notes.push(text), retryMs: 0 }

/** The times of the events in a file, which stand for the events. */
async function timesIn(file: string): Promise<{ times: number[]; unreadable: number }> {
  const times: number[] = []
  const { unreadable } = await readRecording(file, 'file', ({ at }) => times.push(at))
  return { times, unreadable }
}

async function recorded(file: string, times: readonly number[]): Promise<void> {
  const recording = await RecordingFile.open(file, '--record', options)
  for (const at of times) recording.add(measuredEvent('pid:1', at, 100))
  await recording.close()
}

describe('a recording', () => {
  it('goes on where a server before has ended, also within a line', async () => {
    const file = folder()('recording', '')
    await recorded(file, [1, 2, 3])
    truncateSync(file, statSync(file).size - 10)
    expect(await timesIn(file)).toEqual({ times: [1, 2], unreadable: 1 })
    await recorded(file, [4])
    expect(await timesIn(file)).toEqual({ times: [1, 2, 4], unreadable: 1 })
  })

  it('is for its owner alone', async () => {
    const file = join(folder()('beside', ''), '..', 'recording')
    await recorded(file, [1])
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('is read no further when a signal has come', async () => {
    const file = folder()('recording', '')
    const all = Array.from({ length: 5000 }, (_, at) => at + 1)
    await recorded(file, all)
    const stop = new AbortController()
    const times: number[] = []
    const take = ({ at }: { at: number }): void => {
      times.push(at)
      stop.abort('over')
    }
    await expect(readRecording(file, 'file', take, stop.signal)).rejects.toBe('over')
    expect(times.length).toBeLessThan(all.length)
    await expect(readRecording(file, 'file', take, stop.signal)).rejects.toBe('over')
  })

  it('is never made of another file', async () => {
    const file = folder()('letter', 'Dear Linus,\n')
    await expect(RecordingFile.open(file, '--record', options)).rejects.toMatchObject(CODE)
    expect(readFileSync(file, 'utf8')).toBe('Dear Linus,\n')
    await expect(timesIn(file)).rejects.toMatchObject(CODE)
  })

  it('passes over lines that are garbage, and over those that are too long for memory', async () => {
    const file = folder()('recording', '')
    await recorded(file, [1])
    appendFileSync(file, '{"kind":"pause"}\n\u0000\n\n[]\n')
    for (let mib = 0; mib < 65; mib++) appendFileSync(file, ' '.repeat(2 ** 20))
    appendFileSync(file, '\n')
    await recorded(file, [2])
    expect(await timesIn(file)).toEqual({ times: [1, 2], unreadable: 4 })
  })

  it.runIf(process.getuid?.() === 0)('survives a full disk, and says what is missing', async () => {
    const path = fullSoon()
    const file = join(path, 'recording')
    const recording = await RecordingFile.open(file, '--record', options)
    try {
      notes.length = 0
      let at = 0
      while (notes.length === 0) {
        recording.add(measuredEvent('pid:1', ++at, 1000))
        await turn()
      }
      expect(notes.join('\n')).toContain('ENOSPC')
      // What was written of the line that did not fit is taken back.
      await expect.poll(async () => (await timesIn(file)).unreadable).toBe(0)
      const before = await timesIn(file)
      for (let more = 0; more < 10; more++) {
        recording.add(measuredEvent('pid:1', ++at, 1000))
        await turn()
      }
      execFileSync('mount', ['-o', 'remount,size=1m', path])
      recording.add(measuredEvent('pid:1', 1_000_000, 1000))
      await recording.close()
      // A smaller event may have found room meanwhile.
      const missing = notes.map(note => Number(/ (\d+) events are missing/.exec(note)?.[1] ?? 0))
      const { times, unreadable } = await timesIn(file)
      expect(unreadable).toBe(0)
      expect(times.slice(0, before.times.length)).toEqual(before.times)
      expect(times.at(-1)).toBe(1_000_000)
      expect(times.length + missing.reduce((sum, count) => sum + count)).toBe(at + 1)
      expect(times.length).toBeLessThan(at)
    } finally {
      await recording.close()
    }
  })
})

it('says where a disk that is too slow has lost events', async () => {
  const file = join(folder()('beside', ''), '..', 'pipe')
  execFileSync('mkfifo', [file])
  // A pipe that nobody reads takes 64 KiB, and holds up the rest.
  const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  const recording = await RecordingFile.open(file, '--record', options)
  notes.length = 0
  const events = 120
  for (let at = 1; at <= events; at++) recording.add(measuredEvent('pid:1', at, 200_000))
  const all = text(new Socket({ fd: reader, readable: true, writable: false }))
  await expect.poll(() => notes, { timeout: 20_000 }).toHaveLength(1)
  recording.add(measuredEvent('pid:1', 1_000_000))
  await recording.close()
  const lines = (await all).trimEnd().split('\n').map(parseLine)
  const times = lines.map(line => (line.kind === 'event' ? line.event.at : 'header'))
  const kept = times.length - 3
  expect(kept).toBeLessThan(events)
  const whole = Array.from({ length: kept }, (_, at) => at + 1)
  expect(times).toEqual(['header', ...whole, 'header', 1_000_000])
  expect(notes).toEqual([`${file}: recording goes on. ${events - kept} events are missing.`])
})

it('goes on in a new file when the old one was moved away', async () => {
  const file = folder()('recording', '')
  const recording = await RecordingFile.open(file, '--record', options)
  recording.add(measuredEvent('pid:1', 1))
  await expect.poll(async () => (await timesIn(file)).times).toEqual([1])
  renameSync(file, `${file}.1`)
  recording.add(measuredEvent('pid:1', 2))
  await expect.poll(async () => (await timesIn(file).catch(() => undefined))?.times).toEqual([2])
  // What somebody else has put there is not touched.
  renameSync(file, `${file}.2`)
  writeFileSync(file, 'Dear Linus,\n')
  recording.add(measuredEvent('pid:1', 3))
  await recording.close()
  expect(readFileSync(file, 'utf8')).toBe('Dear Linus,\n')
  expect(await timesIn(`${file}.1`)).toEqual({ times: [1], unreadable: 0 })
  expect(await timesIn(`${file}.2`)).toEqual({ times: [2, 3], unreadable: 0 })
})

it('ends although nobody takes what is in a pipe', async () => {
  const file = join(folder()('beside', ''), '..', 'pipe')
  execFileSync('mkfifo', [file])
  const recording = await RecordingFile.open(file, '--record', options)
  notes.length = 0
  // A pipe takes 64 KiB.
  for (let at = 0; at < 5; at++) recording.add(measuredEvent('pid:1', at, 200_000))
  await recording.close()
  expect(notes[0]).toContain('EAGAIN')
  expect(notes.at(-1)).toMatch(/\d events are missing at its end/)
})

const turn = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 1))

/** A file system that has no room for much. */
function fullSoon(): string {
  const path = join(folder()('beside', ''), '..')
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', path])
  onTestFinished(() => {
    // Also if a test that took too long still writes into it.
    execFileSync('umount', ['--lazy', path])
  })
  return path
}

describeKvm('dirtyrate serve --record', () => {
  it('writes what a live view hears, and --recording shows the same', async () => {
    const file = folder()('recording', '')
    const curves = ['--curve-every', '1h', '--windows', '20ms,50ms']
    let live: unknown[] = []
    await serving([guest, other, ...FAST, ...curves, '--record', file], async url => {
      const client = await LiveClient.open(url)
      const kinds = (): string[] => client.events.map(({ event }) => event.kind)
      await expect
        .poll(() => kinds().filter(kind => kind === 'curve').length, { timeout: 20_000 })
        .toBe(2)
      live = client.events.map(({ event }) => event)
    })
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').map(parseLine)
    expect(lines[0]).toMatchObject({ kind: 'header' })
    const events = lines.flatMap(line => (line.kind === 'event' ? [line.event] : []))
    expect(events.slice(0, live.length)).toEqual(live)
    let shown: unknown[] = []
    const { stderr } = await serving(['--recording', file], async url => {
      const client = await LiveClient.open(url)
      await expect.poll(() => client.controls('caught-up').length).toBe(1)
      expect(client.controls('hello')).toMatchObject([
        { source: 'recording', targets: expect.arrayContaining([guest, other]) },
      ])
      shown = client.events.map(({ event }) => event)
      client.socket.send(JSON.stringify({ kind: 'measureCurve', target: guest }))
      await expect.poll(() => client.controls('curve-answer')).toMatchObject([{ accepted: false }])
    })
    expect(shown).toEqual(events)
    expect(stderr).toContain(file)

    const link = ['--bandwidth', '10Gbit/s', '--downtime', '300ms']
    const ambiguous = await dirtyrate(['predict', '--curve', file, ...link])
    expect(ambiguous.stderr).toContain('several targets')
    const predicted = await dirtyrate([
      'predict',
      '--curve',
      file,
      '--target',
      guest,
      ...link,
      '--json',
    ])
    const [curve] = events.filter(({ kind, target }) => kind === 'curve' && target === guest)
    const saved = folder()('curve.json', JSON.stringify(curve?.kind === 'curve' && curve.curve))
    const same = await dirtyrate(['predict', '--curve', saved, ...link, '--json'])
    expect(JSON.parse(predicted.stdout)).toEqual(JSON.parse(same.stdout))
  })

  it('goes on serving if the disk is full', async () => {
    const never = ['--curve-every', 'never']
    const { stderr } = await serving(
      [other, ...FAST, ...never, '--record', '/dev/full'],
      async url => {
        const client = await LiveClient.open(url)
        await expect.poll(() => client.events.length, { timeout: 20_000 }).toBeGreaterThan(3)
      },
    )
    expect(stderr).toContain('ENOSPC')
  })

  it.each([
    { args: ['--recording', 'FILE', guest], why: 'it shows a file' },
    { args: ['--recording', 'FILE', '--record', 'FILE'], why: 'it shows a file' },
    { args: ['--recording', '/nowhere'], why: 'no such file' },
    { args: [], why: "missing required argument 'target'" },
  ])('refuses $args', async ({ args, why }) => {
    const { status, stderr } = await dirtyrate(['serve', ...args])
    expect(status).toBe(2)
    expect(stderr).toContain(why)
  })
})
