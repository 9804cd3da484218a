/**
 * The commands, their options and their texts. What each command does is in the file of its name.
 */

import { Command, Option } from 'commander'
import manifest from '../../package.json' with { type: 'json' }
import { logLevels } from '../ground/log.js'
import { profileNames } from '../prediction/profiles.js'
import { modes } from '../results/mode.js'
import { type AuditOptions, runAudit, runReadMemory } from './audit.js'
import { type CalcOptions, runCalc } from './calc.js'
import { runCapabilities } from './capabilities.js'
import { type CompareOptions, runCompare } from './compare.js'
import { runComplete } from './complete.js'
import { curveRows } from './csv.js'
import { type CurveCommandOptions, runCurve } from './curve.js'
import { type DemoOptions, runDemo } from './demo.js'
import { runDoctor } from './doctor.js'
import { EXIT_MEANINGS } from './exit.js'
import { type GuestOptions, runGuest } from './guest.js'
import { type ListOptions, runList } from './list.js'
import { type PredictOptions, runPredict } from './predict.js'
import { type QmpOptions, runQmp } from './qmp.js'
import type { Session } from './session.js'
import {
  choosing,
  csvOption,
  hmpOption,
  measuring,
  measuringCurves,
  onTarget,
  pagesOption,
  rateOption,
  SEVERAL,
  unitOption,
  workloadOption,
} from './shared-options.js'
import { runCompletion, shells } from './shells.js'
import { addHelpCommand } from './usage.js'
import { runWatch, type WatchCommandOptions } from './watch.js'

/** What a command does. It resolves with the exit status. */
export type Action = (session: Session) => Promise<number>

/** The program; `act` runs what a command does. */
export function makeProgram(act: (action: Action) => Promise<void>): Command {
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

  program
    .command('demo')
    .description(
      'measure a guest whose dirty pages are known, in every mode, with the truth beside each figure',
    )
    .option('--memory <size>', "the guest's memory", '1GiB')
    .option('--vcpus <n>', 'how many vCPUs it has', '1')
    .addOption(workloadOption())
    .addOption(pagesOption())
    .addOption(rateOption())
    .option('--window <duration>', 'how long each measurement is', '1s')
    .option('--rounds <n>', 'how many measurements in each mode', '1')
    .addOption(unitOption())
    .action((options: DemoOptions) => act(session => runDemo(session, options)))

  measuring(
    program.command('calc').description('measure a target once, or several at once'),
    SEVERAL,
  )
    .option('--window <duration>', 'how long to measure', '1s')
    .addOption(unitOption())
    .addOption(hmpOption())
    .action((targets: string[], options: CalcOptions) =>
      act(session => runCalc(session, targets, options)),
    )

  measuringCurves(
    program.command('curve').description('measure distinct pages for several windows, in one run'),
    'default: 50ms,100ms,200ms,500ms,1s; for libvirt: without monitor=yes 1s,2s,5s',
  )
    .option(
      '--compressibility',
      'also measure how well the pages compress, from a few of them; of targets whose memory is read',
      false,
    )
    .addOption(unitOption())
    .addOption(csvOption())
    .addOption(
      choosing(
        '--rows <what>',
        '--csv: a line for each window, or for each region or round in each window (default: windows)',
        curveRows,
      ),
    )
    .action((target: string, options: CurveCommandOptions) =>
      act(session => runCurve(session, target, options)),
    )

  measuring(
    program
      .command('watch')
      .description(
        'measure a target again and again. A terminal shows one line that is rewritten; --json prints a document in each line',
      ),
    SEVERAL,
  )
    .option('--every <duration>', 'how long each window is', '1s')
    .addOption(unitOption())
    .option('--count <n>', 'how many windows (default: until interrupted)')
    .addOption(csvOption())
    .addOption(hmpOption())
    .action((targets: string[], options: WatchCommandOptions) =>
      act(session => runWatch(session, targets, options)),
    )

  measuringCurves(
    program
      .command('predict')
      .description(
        'predict whether a live migration will end and how long it takes, or how large the next incremental snapshot is, from a curve that is measured now or was saved',
      ),
    'default: 50ms,100ms,200ms,500ms,1s,2s,5s,10s; for libvirt: without monitor=yes 1s,2s,5s',
    '[target]',
  )
    .option('--curve <file>', 'a saved curve, instead of a target: what curve --save has written')
    .requiredOption(
      '--bandwidth <rate>',
      'what the link carries: 10Gbit/s, 250MB/s; with --snapshot, how fast a snapshot is written',
    )
    .option('--downtime <duration>', 'how long the guest may stand still: 300ms, or unlimited')
    .addOption(
      choosing(
        '--profile <name>',
        'the software of the VM; qemu-8.1 is QEMU 8.1 (default: qemu)',
        profileNames,
      ),
    )
    .option('--memory <size>', 'the memory of the VM, if the curve does not say it')
    .option(
      '--device-state <duration>',
      'how long the state of the devices takes while the guest stands still (default: 0s)',
    )
    .option(
      '--link-bandwidth <rate>',
      'what the link carries while the guest stands still, if it is more than --bandwidth',
    )
    .option(
      '--switchover-bandwidth <rate>',
      "QEMU's avail-switchover-bandwidth: what QEMU counts on for the last step",
    )
    .option(
      '--matrix',
      'a table of bandwidths and downtimes; each may be a list, separated by commas',
      false,
    )
    .option('--snapshot <interval>', 'predict the incremental snapshot after this time: 5min')
    .option(
      '--exit-code',
      'end with status 10 if the migration stalls, 11 if it is uncertain',
      false,
    )
    .usage('[options] --bandwidth <rate> --downtime <duration> [target]')
    .action((target: string | undefined, options: PredictOptions) =>
      act(session => runPredict(session, target, options)),
    )

  onTarget(
    program
      .command('qmp')
      .description(
        "serve QEMU's commands about the dirty rate of a target, at a Unix socket, to clients that speak QMP",
      ),
  )
    .requiredOption('--socket <path>', 'where to listen; only the user of this command can connect')
    .option(
      '--allow-control',
      'serve stop, cont and quit also for a VM that this command has not started',
      false,
    )
    .usage('--socket <path> [options] <target>')
    .action((target: string, options: QmpOptions) =>
      act(session => runQmp(session, target, options)),
    )

  program
    .command('guest')
    .description('write a guest as an ELF that boots here and in QEMU with -kernel FILE')
    .addOption(workloadOption())
    .addOption(pagesOption())
    .option('--memory <size>', 'the memory of the machine that it will run in', '1GiB')
    .option('--vcpus <n>', 'how many vCPUs it has', '1')
    .option(
      '--rate <rate>',
      'the rate that it keeps by its own clock: 100MiB/s, 10Gbit/s (default: as fast as it can)',
    )
    .addOption(
      choosing(
        '--sharing <how>',
        'shared: each vCPU writes all pages, instead of its own part of them',
        ['split', 'shared'],
      ),
    )
    .addOption(
      choosing(
        '--placement <where>',
        'spread: the pages lie at the ends of all RAM blocks; even: at the ends of all GiB',
        ['packed', 'spread', 'even'],
      ),
    )
    .option('--seed <n>', 'makes random pages repeatable')
    .requiredOption('-o, --output <file>', 'the file to write')
    .usage('--output <file> [options]')
    .action((options: GuestOptions & { output: string }) =>
      act(session => runGuest(session, options)),
    )

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

  program
    .command('compare')
    .description(
      'run a guest here and in QEMU, and compare what both say with the truth, and what it takes',
    )
    .option('--memory <size>', "the guest's memory", '1GiB')
    .option('--vcpus <n>', 'how many vCPUs it has', '1')
    .addOption(workloadOption())
    .addOption(pagesOption())
    .option(
      '--rate <rate>',
      'the rate that the guest keeps by its own clock (default: as fast as it can)',
    )
    .option('--window <duration>', 'how long each measurement is', '1s')
    .option('--rounds <n>', 'how many measurements in each mode', '5')
    .option('--sample-pages <n>', 'page-sampling: pages looked at per GiB, by both tools', '512')
    .option('--qemu <program>', 'the QEMU to compare with (default: that of this architecture)')
    .addOption(unitOption())
    .action((options: CompareOptions) => act(session => runCompare(session, options)))

  onTarget(
    program
      .command('audit')
      .description(
        'show why the dirty rate during a migration differs from the one measured before: which part is sampling, which the window, and which the migration itself',
      ),
  )
    .addOption(
      choosing(
        '--mode <mode>',
        'what the samples are compared with; auto is the exact mode of a VM that this command makes, and the most samples for other VMs',
        [...modes, 'auto'],
      ).default('auto'),
    )
    .option(
      '--force',
      'measure also in a mode that is known to harm this VM, or to read nonsense there',
      false,
    )
    .option(
      '--window <duration>',
      'the window in which a rate is measured before a migration',
      '1s',
    )
    .option('--downtime <duration>', 'the window of the last passes of a migration', '300ms')
    .option('--bandwidth <rate>', 'how fast the memory is read: the speed of the link', '10Gbit/s')
    .option('--rounds <n>', 'how many measurements of each kind', '5')
    .option('--delay <duration>', 'wait this long before the first window')
    .option(
      '--until-console <text>',
      "wait until the guest's console has printed this, then for --delay",
    )
    .option('--console-timeout <duration>', 'wait no longer than this for --until-console')
    .addOption(unitOption())
    .action((target: string, options: AuditOptions) =>
      act(session => runAudit(session, target, options)),
    )

  // The process that `audit` starts to read a guest's memory.
  program
    .command('read-memory', { hidden: true })
    .argument('<task>')
    .action((task: string) => act(session => runReadMemory(session, task)))

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
