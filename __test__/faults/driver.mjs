// Runs cases of fault injection, one after the other, in a process that has shim.c preloaded: a
// line of JSON in is a case, a line out is what came of it. A case is one life of a VM: made,
// loaded, started, measured, changed, ended.

import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { VirtualMachine, workload } from 'dirtyrate'
import { attempts, clearPlan, setPlan } from './plan.mjs'

/** vCPUs, reapers and pacers of this process. */
function guestThreads() {
  const names = readdirSync('/proc/self/task').map(id => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim()
    } catch {
      return ''
    }
  })
  return names.filter(name => /^(vcpu\d+|reaper|pacer)$/.test(name))
}

const figures = ({ pages, complete, truth }) => ({ pages, complete, truth })

/** One life of a VM. */
async function life({ log, rate, mode, patienceMs }) {
  const { errors, attempt } = attempts()
  const results = []
  const signal = AbortSignal.timeout(patienceMs)
  const options = {
    memory: '64MiB',
    vcpus: 2,
    signal,
    ...(log === 'ring' ? { dirtyLog: { ringEntries: 4096 } } : {}),
  }
  const vm = await attempt('create', () => VirtualMachine.create(options))
  if (vm === undefined) return { errors, results, closed: true }
  const measure = async () => {
    const result = await attempt('measure', () => vm.measureDirtyRate({ window: 20, mode, signal }))
    if (result !== undefined) results.push(figures(result))
  }
  await attempt('load', () =>
    vm.load(workload.stride({ pages: 300, ...(rate === undefined ? {} : { rate }) })),
  )
  await attempt('start', () => vm.start({ signal }))
  await measure()
  const block = { name: 'more', guestAddress: 0x8000000, bytes: '4MiB' }
  const added = await attempt('addBlock', () => vm.addBlock(block))
  await measure()
  if (added !== undefined) await attempt('removeBlock', () => vm.removeBlock('more'))
  await attempt('pause', () => vm.pause())
  await attempt('resume', () => vm.resume())
  await measure()
  const closed = (await attempt('close', () => vm.close().then(() => true))) === true
  return { errors, results, closed }
}

process.stdout.write('{"ready":true}\n')
for await (const line of createInterface({ input: process.stdin })) {
  const { fault, ...rest } = JSON.parse(line)
  if (fault !== undefined) setPlan(fault)
  const outcome = await life(rest)
  const called = clearPlan()
  // A thread ends a moment after its promise.
  for (let look = 0; look < 100 && guestThreads().length > 0; look++)
    await new Promise(next => setTimeout(next, 10))
  process.stdout.write(`${JSON.stringify({ ...outcome, ...called, threads: guestThreads() })}\n`)
}
