/**
 * The program, and its commands in the order of the help. The commands that take a target, and
 * those that make their own guests, are in files of their own. What each command does is in the
 * file of its name.
 */

import { Command, Option } from 'commander'
import manifest from '../../package.json' with { type: 'json' }
import { logLevels } from '../ground/log.js'
import { runCapabilities } from './capabilities.js'
import { runComplete } from './complete.js'
import { runDoctor } from './doctor.js'
import { EXIT_MEANINGS } from './exit.js'
import { addCompare, addDemo, addGuest } from './guest-commands.js'
import { type ListOptions, runList } from './list.js'
import { addPlan } from './plan-command.js'
import { addHeatmap, addTop } from './screen-commands.js'
import { addServe } from './serve-command.js'
import type { Act } from './session.js'
import { runCompletion, shells } from './shells.js'
import { addAudit, addCalc, addCurve, addPredict, addQmp, addWatch } from './target-commands.js'
import { addHelpCommand } from './usage.js'

/** The program; `act` runs what a command does. */
export function makeProgram(act: Act): Command {
  const program = new Command('dirtyrate')
  program
    .description('How fast does a KVM virtual machine dirty its memory?')
    .version(manifest.version)
    .option('--json', 'print one JSON document on standard output, and nothing else there', false)
    .option('-q, --quiet', 'print only the figures: no explanation, no progress', false)
    .addOption(
      new Option('--log-level <level>', "print the core's log on standard error")
        .choices([...logLevels])
        .default('off'),
    )
    .option('--trace', "print QEMU's trace events of dirty rates on standard error", false)
    .addHelpText(
      'after',
      `\nExit status: ${EXIT_MEANINGS.map(([status, meaning]) => `${status} ${meaning}`).join(', ')}.`,
    )

  program
    .command('capabilities')
    .description("show what this machine's KVM can do")
    .action(() => act(runCapabilities))

  addDemo(program, act)
  addCalc(program, act)
  addCurve(program, act)
  addWatch(program, act)
  addHeatmap(program, act)
  addTop(program, act)
  addPredict(program, act)
  addPlan(program, act)
  addServe(program, act)
  addQmp(program, act)
  addGuest(program, act)

  program
    .command('list')
    .description(
      'show the virtual machines on this host, and the targets that reach them. It connects to no monitor',
    )
    .option('--watch', 'show the list again at each change, until interrupted', false)
    .action((options: ListOptions) => act(session => runList(session, options)))

  program
    .command('doctor')
    .description(
      'show what this host can measure, and the command that mends what is missing. The exit status is 0 if something can be measured here, and 3 if nothing can',
    )
    .action(() => act(runDoctor))

  addCompare(program, act)
  addAudit(program, act)

  const completion = program
    .command('completion')
    .description('print the script that makes a shell complete the command line')
    .argument('<shell>', shells.join(', '))
    .action((shell: string) => act(session => runCompletion(session, shell)))
  for (const argument of completion.registeredArguments) argument.argChoices = [...shells]

  // The completion scripts of shells call this command.
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action((words: string[]) => act(session => runComplete(session, program, words)))

  addHelpCommand(program, act)
  return program
}
