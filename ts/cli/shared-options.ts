/** The options that several commands have, and the argument of those that take a target. */

import { type Command, Option } from 'commander'
import { rateUnits } from '../ground/units.js'
import { designs, intervals } from '../measurement/sampling.js'
import { modes } from '../results/mode.js'
import { workloadKinds } from '../targets/vm/workload.js'
import { DEFAULT_UNIT } from './rate-unit.js'
import { EXAMPLES, examplesHelp, targetForms, targetHelp } from './target-help.js'
import { columnsOf } from './terminal.js'

/**
 * An option whose choices are shown and completed; the command itself refuses other values, with a
 * suggestion.
 */
export function choosing(flags: string, description: string, choices: readonly string[]): Option {
  const option = new Option(flags, description)
  option.argChoices = [...choices]
  return option
}

export const rateOption = (): Option =>
  new Option('--rate <rate>', 'pace the guest: 100MiB/s, 10Gbit/s (default: as fast as it can)')
export const clockRateOption = (): Option =>
  new Option(
    '--rate <rate>',
    'the rate that the guest keeps by its own clock: 100MiB/s, 10Gbit/s (default: as fast as it can)',
  )
export const unitOption = (): Option =>
  choosing('--unit <unit>', `the unit of the rates shown (default: ${DEFAULT_UNIT})`, rateUnits)
export const hmpOption = (): Option =>
  new Option('--hmp', "print what QEMU's info dirty_rate prints").default(false)
export const csvOption = (): Option =>
  new Option('--csv', 'print a line of names, then a line for each window').default(false)

export const cellsOption = (): Option =>
  new Option(
    '--cells <size>',
    'also count the dirty pages of each cell of this size, such as 2MiB; --json has them',
  )

export const modeOption = (description: string): Option =>
  choosing('--mode <mode>', description, [...modes, 'auto']).default('auto')
export const forceOption = (): Option =>
  new Option(
    '--force',
    'measure also in a mode that is known to harm this VM, or to read nonsense there',
  ).default(false)

/** Adds the options of a guest with a known answer, and of its machine. */
export function makingGuest(command: Command, memory = "the guest's memory"): Command {
  return command
    .option('--memory <size>', memory, '1GiB')
    .option('--vcpus <n>', 'how many vCPUs it has', '1')
    .addOption(
      new Option('--workload <name>', 'what the guest writes')
        .choices([...workloadKinds])
        .default('stride'),
    )
    .option(
      '--pages <n>',
      'how many pages it writes, all vCPUs together (default: 100 MiB of pages)',
    )
}

/** Adds what the command waits for before its first window. */
export function waiting(command: Command): Command {
  return command
    .option('--delay <duration>', 'wait this long before the first window')
    .option(
      '--until-console <text>',
      "wait until the guest's console has printed this, then for --delay",
    )
    .option('--console-timeout <duration>', 'wait no longer than this for --until-console')
}

/** Adds the target, and the help about targets. */
export function onTarget(command: Command, argument = '<target>'): Command {
  return command
    .argument(argument, `${targetForms()}: the options are below`)
    .addHelpText('after', () => targetHelp(columnsOf(process.stdout)))
    .addHelpText('after', () => examplesHelp(EXAMPLES[command.name()] ?? []))
}

/** The argument of a command that takes several targets. */
export const SEVERAL = '[target...]'

/**
 * Adds the options that all commands which measure a target have in common, for one target or for
 * {@link SEVERAL}, of which --all means each VM of the host.
 */
export function measuring(
  command: Command,
  argument = '<target>',
  { withAll = argument === SEVERAL }: { withAll?: boolean } = {},
): Command {
  if (withAll)
    command
      .usage('[options] [--all] [target...]')
      .option(
        '--all',
        'measure every virtual machine that dirtyrate list finds; no target has to be named then',
        false,
      )
  onTarget(command, argument)
    .addOption(modeOption('how to measure; auto is the first mode of the target'))
    .addOption(forceOption())
  return waiting(command)
    .option(
      '--sample-pages <n>',
      'page-sampling: pages looked at per GiB, 128 to 16384 (default: 512)',
    )
    .option(
      '--confidence <p>',
      'page-sampling: the confidence of the interval, between 0 and 1 (default: 0.95)',
    )
    .addOption(
      choosing(
        '--interval <method>',
        'page-sampling: how the interval is computed (default: wilson)',
        intervals,
      ),
    )
    .addOption(
      choosing(
        '--design <design>',
        'page-sampling: how pages are chosen (default: stratified)',
        designs,
      ),
    )
    .option('--seed <n>', 'page-sampling: makes the choice of pages repeatable')
}

/** The same for a command that measures curves, with its windows where none are given. */
export function measuringCurves(command: Command, windows: string, argument?: string): Command {
  return measuring(command, argument)
    .option('--windows <list>', `the windows, separated by commas, at most 1000 (${windows})`)
    .option(
      '--granularity <list>',
      'count dirty granules of these sizes and their extents too, in an exact mode: 64KiB,2MiB',
    )
    .option(
      '--repeat <n>',
      'measure so many curves, one after the other, and take their means; Ctrl-C ends early, with the means of the whole rounds until then',
    )
    .option(
      '--for <duration>',
      'measure curves for so long, one after the other, and take their means: 10min',
    )
    .option('--save <file>', 'write the document of curve --json into a file too')
}
