// What a real QEMU 10 answers to the commands of __test__/qapi/golden/commands.json, without its times and rates. The tests hold this
// package's answers against it.
//
//   node scripts/qemu-golden.mjs           writes __test__/qapi/golden/qemu-10.json
//   node scripts/qemu-golden.mjs --print   prints the same, and writes nothing
//
// Needs qemu-system-x86_64 and /dev/kvm.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), '__test__/qapi/golden')

/** The guest does not matter: firmware that waits. Two vCPUs, so that a ring has two lines. */
const MACHINE = ['-machine', 'q35,smm=off', '-m', '64', '-smp', '2', '-nodefaults', '-display', 'none']
const ACCEL = { bitmap: 'kvm', ring: 'kvm,dirty-ring-size=4096' }

/** The commands, in sections; each section has a VM of its own. */
export function readSections() {
  return JSON.parse(readFileSync(join(folder, 'commands.json'), 'utf8'))
}

/** An answer without what is never the same twice: start times, rates, and how many ms a measurement really took. */
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
        if (key === 'vcpu-dirty-rate') return [key, figure.map(vcpu => ({ ...vcpu, 'dirty-rate': 'RATE' }))]
        if (key === 'calc-time' && value.status === 'measured' && value['calc-time-unit'] === 'millisecond')
          return [key, 'MS']
        return [key, figure]
      }),
    ),
  }
}

/** Runs the steps by `execute` and `hmp`, which resolve with a QMP answer; the list of the answers. */
export async function runSteps(steps, { execute, hmp }) {
  const answers = []
  for (const step of steps) {
    if (step.until !== undefined) {
      while ((await execute('query-dirty-rate', {})).return?.status !== step.until) await sleep(5)
    } else {
      const answer = await (step.hmp === undefined ? execute(step.qmp, step.arguments) : hmp(step.hmp))
      answers.push({ ...step, ...withoutFigures(answer) })
    }
  }
  return answers
}

async function connect(path, qemu) {
  for (;;) {
    if (qemu.exitCode !== null) throw new Error('QEMU ended')
    const socket = createConnection(path)
    const connected = await new Promise(resolve => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    if (connected) return socket
    await sleep(50)
  }
}

async function section({ name, log, steps }) {
  const own = mkdtempSync(join(tmpdir(), 'dirtyrate-golden-'))
  const path = join(own, 'qmp')
  const qemu = spawn(
    'qemu-system-x86_64',
    ['-accel', ACCEL[log], ...MACHINE, '-qmp', `unix:${path},server=on,wait=off`],
    { stdio: 'ignore' },
  )
  try {
    const socket = await connect(path, qemu)
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
    const next = async () => {
      const { value, done } = await lines.next()
      if (done) throw new Error('QEMU closed its monitor')
      return JSON.parse(value)
    }
    const execute = async (command, args) => {
      socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
      for (;;) {
        const answer = await next()
        if (!('event' in answer)) return answer
      }
    }
    await next()
    await execute('qmp_capabilities', {})
    const hmp = text => execute('human-monitor-command', { 'command-line': text })
    return { name, answers: await runSteps(steps, { execute, hmp }) }
  } finally {
    // A measurement of a minute is under way: QEMU is not asked.
    qemu.kill('SIGKILL')
    if (qemu.exitCode === null && qemu.signalCode === null) await once(qemu, 'exit')
    rmSync(own, { recursive: true, force: true })
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sections = []
  for (const one of readSections()) sections.push(await section(one))
  const text = format(sections)
  if (process.argv.includes('--print')) process.stdout.write(text)
  else writeFileSync(join(folder, 'qemu-10.json'), text)
}
