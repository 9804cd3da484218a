// Runs cases of fault injection on the measurement of another process, in a process that has
// shim.c preloaded: a line of JSON in is a case, a line out is what came of it. The processes that
// are measured are those of memory.c, whose truth is known.

import { spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { openTarget } from 'dirtyrate'
import { attempts, clearPlan, setPlan } from './plan.mjs'

const [program, folder, pages] = process.argv.slice(2)
const MOST_SAMPLES_PER_GIB = 16_384

const binding = readdirSync('native').find(name => name.endsWith('.node'))
const { NativeProcess } = createRequire(import.meta.url)(join(process.cwd(), 'native', binding))

/** A process of memory.c: its number, where its memory is, and how many rounds it has made. */
async function startProcess(kind) {
  const counter = join(folder, `rounds-${kind}`)
  const { DIRTYRATE_FAULTS: _, LD_PRELOAD: __, ...env } = process.env
  const child = spawn(program, [kind, counter, pages], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  const [range] = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', line => resolve([line]))
    child.once('exit', status => reject(new Error(`memory.c ended with ${status}`)))
  })
  const file = openSync(counter, 'r')
  const bytes = Buffer.alloc(8)
  const rounds = () => {
    readSync(file, bytes, 0, 8, 0)
    return Number(bytes.readBigUInt64LE())
  }
  const end = () => {
    closeSync(file)
    child.stdin.end()
  }
  return { pid: child.pid, range, rounds, end }
}

/**
 * Runs `work`, and finds out whether the process has made a whole round in any window that lies in
 * that time: a third of the window never passed without the end of a round.
 */
async function watched({ rounds }, windowMs, work) {
  let [last, since, longest, ended] = [rounds(), performance.now(), 0, false]
  const look = () => {
    const [now, at] = [rounds(), performance.now()]
    longest = Math.max(longest, at - since)
    if (now !== last) [last, since] = [now, at]
  }
  const watching = (async () => {
    while (!ended) {
      look()
      await sleep(2)
    }
  })()
  const result = await work().finally(() => {
    ended = true
  })
  look()
  await watching
  return { result, isBusy: longest < windowMs / 3 }
}

async function life({ kind, mode, windowMs }) {
  const measured = processes[kind]
  const { errors, attempt } = attempts()
  const results = []
  const uri = `pid:${measured.pid},range=${measured.range}`
  const target = await attempt('open', () => openTarget(uri))
  if (target === undefined) return { errors, results }
  for (let round = 0; round < 2; round++) {
    const samples = mode === 'page-sampling' ? { samplePages: MOST_SAMPLES_PER_GIB } : {}
    const measure = () => target.measureDirtyRate({ mode, window: windowMs, ...samples })
    const found = await attempt('measure', () => watched(measured, windowMs, measure))
    if (found !== undefined) {
      const { pages, complete } = found.result
      results.push({ pages, complete, isBusy: found.isBusy })
    }
  }
  await attempt('describe', () => target.describe())
  await attempt('close', () => target.close())
  const statistics = await attempt('statistics', async () => {
    const opened = new NativeProcess(measured.pid)
    return await opened.kvmStatistics().finally(() => opened.close())
  })
  return { errors, results, statistics }
}

const processes = { private: await startProcess('private'), shared: await startProcess('shared') }
process.stdout.write('{"ready":true}\n')
for await (const line of createInterface({ input: process.stdin })) {
  const { fault, ...rest } = JSON.parse(line)
  if (fault !== undefined) setPlan(fault)
  const outcome = await life(rest)
  const { seen, failed } = clearPlan()
  const descriptors = readdirSync('/proc/self/fd').length
  process.stdout.write(`${JSON.stringify({ ...outcome, descriptors, seen, failed })}\n`)
}
for (const { end } of Object.values(processes)) end()
