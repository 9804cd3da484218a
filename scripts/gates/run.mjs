// Runs one gate to its end, with its output shown and kept.

import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { SECOND_TRY } from '../test/run.mjs'

const SUM = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/
/** A line of text that is longer is no sum. */
const LONGEST_LINE = 1000
/** How long a gate may take to end after it was asked to. */
const GRACE_MS = 10_000

/**
 * The counts of a gate that ended with `status` and said `sum` last, if it gave one: a failed gate
 * has at least one failure.
 */
export function countsOf(status, sum) {
  const counts = sum ?? { passed: status === 0 ? 1 : 0, failed: 0, skipped: 0 }
  if ((status !== 0 && counts.failed === 0) || counts.passed + counts.failed === 0)
    return { ...counts, failed: counts.failed + 1 }
  return counts
}

/** Calls `take` for each line of text that comes in pieces. */
function lineReader(take) {
  let rest = ''
  const line = text => take(stripVTControlCharacters(text).trimEnd())
  return {
    add(text) {
      const lines = (rest + text).split('\n')
      rest = lines.pop().slice(-LONGEST_LINE)
      lines.forEach(line)
    },
    end() {
      line(rest)
      rest = ''
    },
  }
}

/** Finds the last sum in text that comes in pieces. */
export function sumReader() {
  let sum
  const reader = lineReader(line => {
    const match = SUM.exec(line.trim())
    if (match)
      sum = { passed: Number(match[1]), failed: Number(match[2]), skipped: Number(match[3] ?? 0) }
  })
  return {
    add: reader.add,
    sum() {
      reader.end()
      return sum
    },
  }
}

/** Keeps the lines that name the tests which passed only at the second try. */
function secondTryReader() {
  const lines = []
  const reader = lineReader(line => {
    if (line.startsWith(SECOND_TRY)) lines.push(line)
  })
  return {
    add: reader.add,
    lines() {
      reader.end()
      return lines
    },
  }
}

/** How the runners of this project name a test that failed, and a process what ended it. */
const FAILURE =
  /^(test .* FAILED$|\s*(FAIL|×|✗)\s|---- .* ----$|thread .* panicked at|error(\[\w+\])?:|\s*\w*Error: )/
/** How many lines from such a line on tell what was wrong, and how many of the last are kept. */
const FAILURE_LINES = 6
const KEPT_LINES = 120

/** Keeps the lines of text that say what failed: a reader of a long log wants them at its end. */
export function failureReader() {
  let wanted = 0
  const lines = []
  const reader = lineReader(line => {
    if (FAILURE.test(line)) wanted = FAILURE_LINES
    if (wanted === 0 || line === '') return
    wanted -= 1
    lines.push(line.slice(0, 300))
    if (lines.length > KEPT_LINES) lines.shift()
  })
  return {
    add: reader.add,
    lines() {
      reader.end()
      return lines
    },
  }
}

/**
 * Resolves with `{ ok, passed, failed, skipped, seconds, failures, secondTries }`. `failures` are
 * the lines that say what failed, and `secondTries` those that name what failed only at first.
 * `log` is a file for the gate's output, if that is to be kept. `show` gets the output as it comes,
 * with the stream of this process on which it belongs. An abort of `signal` ends the gate and
 * everything that it has started; the promise then rejects with the signal's reason.
 */
export async function runGate(
  { command: [program, ...args], env = {} },
  { root, log, signal, show = (stream, text) => stream.write(text) },
) {
  signal?.throwIfAborted()
  const began = performance.now()
  if (log !== undefined) mkdirSync(dirname(log), { recursive: true })
  const kept = log === undefined ? undefined : createWriteStream(log)
  // The gate gets its own process group, so that a Ctrl-C reaches only this process, which then
  // ends the whole group in order.
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const kill = how => {
    try {
      process.kill(-child.pid, how)
    } catch {
      // It has ended.
    }
  }
  let timer
  const onAbort = () => {
    kill('SIGINT')
    timer = setTimeout(kill, GRACE_MS, 'SIGKILL')
  }
  const onExit = () => kill('SIGKILL')
  signal?.addEventListener('abort', onAbort)
  process.once('exit', onExit)
  const reader = sumReader()
  const secondTries = secondTryReader()
  const failures = { out: failureReader(), err: failureReader() }
  for (const [stream, shown] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ])
    stream.setEncoding('utf8').on('data', text => {
      if (stream === child.stdout) {
        reader.add(text)
        secondTries.add(text)
      }
      failures[stream === child.stdout ? 'out' : 'err'].add(text)
      kept?.write(text)
      show(shown, text)
    })
  const status = await new Promise(resolve => {
    child.on('error', error => {
      show(process.stderr, `${program} could not be run: ${error.message}\n`)
      resolve(1)
    })
    // Processes that the gate has left running would keep its output open for ever.
    child.on('exit', () => kill('SIGKILL'))
    child.on('close', code => resolve(code ?? 1))
  })
  clearTimeout(timer)
  signal?.removeEventListener('abort', onAbort)
  process.off('exit', onExit)
  if (kept) await new Promise(resolve => kept.end(resolve))
  signal?.throwIfAborted()
  const counts = countsOf(status, reader.sum())
  return {
    ok: counts.failed === 0,
    ...counts,
    failures: [...failures.out.lines(), ...failures.err.lines()],
    secondTries: secondTries.lines(),
    seconds: Math.round((performance.now() - began) / 1000),
  }
}

/** Aborts at the first signal that asks this process to end. */
export function abortOnSignals() {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(name, () =>
      controller.abort(Object.assign(new Error(`ended by ${name}`), { name: 'Interrupted' })),
    )
  return controller.signal
}
