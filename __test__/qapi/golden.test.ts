/**
 * The same list of commands was given to a QEMU 10: all of its answers must be the same as ours,
 * except for times and rates.
 */

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import {
  type CalcDirtyRateArguments,
  humanMonitorCommand,
  type Mode,
  type QapiError,
  type QueryDirtyRateArguments,
  type VirtualMachine,
  workload,
} from '../../ts/index.js'
import { root } from '../fixtures/command.js'
import { running } from '../fixtures/machine.js'
import { describeMode, logFor } from '../fixtures/modes.js'

type Answer = { return: unknown } | { error: { class: string; desc: string } }
interface Section {
  name: string
  log: 'bitmap' | 'ring'
  needs: Mode
  steps: object[]
}
interface Golden {
  readSections(): Section[]
  runSteps(
    steps: object[],
    monitor: {
      execute(command: string, args: unknown): Promise<Answer>
      hmp(text: string): Promise<Answer>
    },
  ): Promise<object[]>
}
const { readSections, runSteps }: Golden = await import(`${root}/scripts/qemu/golden.mjs`)
const file = `${root}/__test__/qapi/golden/qemu-10.json`
const golden: { name: string; answers: object[] }[] = JSON.parse(readFileSync(file, 'utf8'))

/** Our answer in QMP's form. What is no refusal in QEMU's words fails the test. */
async function answer(call: () => Promise<unknown>): Promise<Answer> {
  try {
    return { return: (await call()) ?? {} }
  } catch (error) {
    const { code, class: name, message } = error as QapiError
    if (code !== 'ERR_QAPI') throw error
    return { error: { class: name, desc: message } }
  }
}

const monitorOf = (vm: VirtualMachine): Parameters<Golden['runSteps']>[1] => ({
  execute: (command, args) =>
    answer(() =>
      command === 'calc-dirty-rate'
        ? vm.calcDirtyRate(args as CalcDirtyRateArguments)
        : vm.queryDirtyRate(args as QueryDirtyRateArguments),
    ),
  hmp: text => answer(() => humanMonitorCommand(vm, text)),
})

for (const { name, log, needs, steps } of readSections()) {
  describeMode(needs, `a VM with a dirty ${log} answers as QEMU: ${name}`, () => {
    it('to every command', async () => {
      const exact = log === 'ring' ? 'dirty-ring' : 'dirty-bitmap'
      const vm = await running(workload.stride({ pages: 500, rate: '10MiB/s' }), {
        vcpus: 2,
        ...logFor(exact),
      })
      const ours = await runSteps(steps, monitorOf(vm))
      const theirs = golden.find(section => section.name === name)?.answers ?? []
      expect(ours).toHaveLength(theirs.length)
      // In its order too: that of the members of an object.
      for (const [at, line] of ours.entries())
        expect(JSON.stringify(line)).toBe(JSON.stringify(theirs[at]))
    })
  })
}
