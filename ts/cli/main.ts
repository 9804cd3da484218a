#!/usr/bin/env node
/** The command, as a process. */

import { openOutputs } from './output.js'
import { makeProgram } from './program.js'
import { type GlobalOptions, Session } from './session.js'
import { runProgram } from './usage.js'

const outputs = openOutputs()
const program = makeProgram(async run => {
  process.exitCode = await new Session(program.opts<GlobalOptions>(), outputs).run(run)
})

await runProgram(program, outputs)
