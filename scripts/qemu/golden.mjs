// Records what a real QEMU 10 answers to the commands of __test__/qapi/golden/commands.json,
// without times and rates. The tests compare this package's answers with these.
//
//   node scripts/qemu/golden.mjs           writes __test__/qapi/golden/qemu-10.json
//   node scripts/qemu/golden.mjs --print   prints the same, and writes nothing
//
// Needs qemu-system-x86_64 and /dev/kvm.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { Qemu } from './qemu.mjs'

const folder = join(root, '__test__/qapi/golden')

/** The guest does not matter: firmware that waits. Two vCPUs, so that a ring has two lines. */
const MACHINE = ['-m', '64', '-smp', '2']
const ACCEL = { bitmap: 'kvm', ring: 'kvm,dirty-ring-size=4096' }

/** The commands, in sections; each section has a VM of its own. */
export function readSections() {
  return JSON.parse(readFileSync(join(folder, 'commands.json'), 'utf8'))
}

/**
 * An answer without what is never the same twice: start times, rates, and how many ms a measurement
 * really took.
 */
export function withoutFigures(answer) {
  const { return: value } = answer
  if (typeof value === 'string') {
    const text = value
      .replace(/Start Time: [1-9]\d*/, 'Start Time: TIME')
      .replaceAll(/Dirty rate: \d+/g, 'Dirty rate: RATE')
    return { return: text }
  }
  if (value?.status === undefined) return answer
  return {
    return: Object.fromEntries(
      Object.entries(value).map(([key, figure]) => {
        if (key === 'start-time' && figure !== 0) return [key, 'TIME']
        if (key === 'dirty-rate') return [key, 'RATE']
        if (key === 'vcpu-dirty-rate')
          return [key, figure.map(vcpu => ({ ...vcpu, 'dirty-rate': 'RATE' }))]
        if (
          key === 'calc-time' &&
          value.status === 'measured' &&
          value['calc-time-unit'] === 'millisecond'
        )
          return [key, 'MS']
        return [key, figure]
      }),
    ),
  }
}

/**
 * Runs the steps by `execute` and `hmp`, which resolve with a QMP answer; the list of the answers.
 */
export async function runSteps(steps, { execute, hmp }) {
  const answers = []
  for (const step of steps) {
    if (step.until !== undefined) {
      while ((await execute('query-dirty-rate', {})).return?.status !== step.until) await sleep(5)
    } else {
      const answer = await (step.hmp === undefined
        ? execute(step.qmp, step.arguments)
        : hmp(step.hmp))
      answers.push({ ...step, ...withoutFigures(answer) })
    }
  }
  return answers
}

/** Far more than any section takes. */
const PATIENCE_MS = 60_000
const ATTEMPTS = 3

/**
 * The answers of one section. With rings QEMU may hang: on a busy host a ring overruns, its vCPU
 * leaves at once again and again, and the measurement waits for it. A QEMU that hangs is ended, and
 * another one is asked.
 */
async function section({ name, log, steps }) {
  for (let attempt = 1; ; attempt++) {
    const qemu = await Qemu.start(MACHINE, ACCEL[log])
    let stands = false
    const patience = setTimeout(() => {
      stands = true
      qemu.kill()
    }, PATIENCE_MS)
    try {
      const execute = (command, args) => qemu.ask(command, args)
      const hmp = text => qemu.ask('human-monitor-command', { 'command-line': text })
      return { name, answers: await runSteps(steps, { execute, hmp }) }
    } catch (error) {
      if (!stands || attempt === ATTEMPTS) throw error
      process.stderr.write(
        `qemu-golden: QEMU stands in the section '${name}'; asking another one\n`,
      )
    } finally {
      clearTimeout(patience)
      await qemu.kill()
    }
  }
}

/** One answer a line: a difference is one line of a diff. */
function format(sections) {
  const texts = sections.map(({ name, answers }) => {
    const lines = answers.map(answer => `      ${JSON.stringify(answer)}`)
    return `  {\n    "name": ${JSON.stringify(name)},\n    "answers": [\n${lines.join(',\n')}\n    ]\n  }`
  })
  return `[\n${texts.join(',\n')}\n]\n`
}

if (isMain(import.meta.url)) {
  const sections = []
  for (const one of readSections()) sections.push(await section(one))
  const text = format(sections)
  if (process.argv.includes('--print')) process.stdout.write(text)
  else writeFileSync(join(folder, 'qemu-10.json'), text)
}
