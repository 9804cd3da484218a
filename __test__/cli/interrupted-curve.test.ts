/** Ctrl-C ends a repeated curve with the rounds that are there. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { cProgram } from '../fixtures/c-programs.js'
import { dirtyrate, type Ended } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { expectForm } from '../fixtures/schema.js'

const GUEST = `guest:stride,pages=1000,memory=${MEMORY}`
const LONG = ['--windows', '10ms,20ms', '--for', '1h']
const LINKED = ['--bandwidth', '10Gbit/s', '--downtime', '300ms']

/** Runs the command, and interrupts it `ms` after its measurement has begun. */
function interruptedAfter(ms: number, args: readonly string[]): Promise<Ended> {
  let isBegun = false
  return dirtyrate([...args, '--log-level', 'debug'], {
    onStderr: (text, kill) => {
      if (isBegun || !text.includes('measurement began')) return
      isBegun = true
      setTimeout(kill, ms, 'SIGINT')
    },
  })
}

/** The same after one round at least, however long that takes here. */
async function interrupted(args: readonly string[]): Promise<Ended> {
  for (let ms = 200; ; ms *= 2) {
    const ended = await interruptedAfter(ms, args)
    if (ended.stderr.includes('measurement done')) return ended
  }
}

const END =
  /\ndirtyrate: interrupted\nThe measurement was cancelled, and what it had opened is closed.\n$/

describeKvm('an interrupted curve', () => {
  it('is printed and saved with its whole rounds', async () => {
    const file = folder()('curve.json', '')
    const ended = await interrupted(['curve', GUEST, ...LONG, '--json', '--save', file])
    expect(ended).toMatchObject({ status: 130, signal: null })
    expect(ended.stderr).toMatch(END)
    expectForm(ended.stdout, 'curve')
    const { repeated, warnings, points } = JSON.parse(ended.stdout)
    expect(warnings[0].code).toBe('INTERRUPTED')
    expect(repeated.rounds.length).toBeGreaterThanOrEqual(1)
    for (const { pages, truth } of points) {
      expect(pages).toBeGreaterThanOrEqual(truth.low)
      expect(pages).toBeLessThanOrEqual(truth.high)
    }
    expect(readFileSync(file, 'utf8')).toBe(ended.stdout)
    // A curve that was cut short is a curve.
    const { status, stdout } = await dirtyrate(['predict', '--curve', file, ...LINKED, '--json'])
    expect(status).toBe(0)
    expectForm(stdout, 'prediction')
  })

  it('is text, and CSV', async () => {
    const text = await interrupted(['curve', GUEST, ...LONG])
    expect(text.status).toBe(130)
    expect(text.stdout).toMatch(/^rounds +[\d,]+$/m)
    expect(text.stdout).toMatch(/^warning +INTERRUPTED: /m)
    const csv = await interrupted(['curve', GUEST, ...LONG, '--csv'])
    expect(csv.status).toBe(130)
    expect(csv.stdout.match(/\r\n/g)).toHaveLength(3)
  })

  it('is what a prediction is made from, whose status does not hide the signal', async () => {
    const args = ['predict', GUEST, ...LONG, ...LINKED, '--exit-code', '--json']
    const { status, stdout, stderr } = await interrupted(args)
    expect(status).toBe(130)
    expectForm(stdout, 'prediction')
    expect(JSON.parse(stdout).warnings[0].code).toBe('INTERRUPTED')
    expect(stderr).toMatch(END)
  })

  it.each([
    ['curve', []],
    ['predict', LINKED],
  ])('of %s without one whole round is a failure', async (command, more) => {
    const long = ['--windows', '1h', '--repeat', '2']
    const ended = await interruptedAfter(0, [command, GUEST, ...long, ...more])
    expect(ended).toMatchObject({ status: 130, stdout: '' })
    expect(ended.stderr).toMatch(END)
  })
})

it('of a process that ends is printed, and ends the command with the error and its hint', async () => {
  const counter = folder()('rounds', '')
  const process = spawn(await cProgram('memory'), ['private', counter, '1024'])
  onTestFinished(() => void process.kill('SIGKILL'))
  const [range] = await once(createInterface({ input: process.stdout }), 'line')
  const target = `pid:${process.pid},range=${range}`
  const args = ['curve', target, '--windows', '10ms,20ms', '--for', '1h', '--json']
  const ended = await dirtyrate([...args, '--log-level', 'debug'], {
    onStderr: text => {
      if (text.includes('measurement began')) setTimeout(() => process.kill('SIGKILL'), 1000)
    },
  })
  expectForm(ended.stdout, 'curve')
  const [{ code, error }] = JSON.parse(ended.stdout).warnings
  expect({ code, error: error.code }).toEqual({ code: 'INTERRUPTED', error: 'ERR_TARGET_GONE' })
  expect(ended.status).toBe(1)
  expect(ended.stderr).toContain(`dirtyrate: ${error.message}\n${error.hint}\n`)
})
