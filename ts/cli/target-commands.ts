/** The commands that take a target: their options and their texts. */

import type { Command } from 'commander'
import { profileNames } from '../prediction/profiles.js'
import { type AuditOptions, runAudit, runReadMemory } from './audit.js'
import { type CalcOptions, runCalc } from './calc.js'
import { curveRows } from './csv.js'
import { type CurveCommandOptions, runCurve } from './curve.js'
import { type PredictOptions, runPredict } from './predict.js'
import { type QmpOptions, runQmp } from './qmp.js'
import type { Act } from './session.js'
import {
  cellsOption,
  choosing,
  csvOption,
  forceOption,
  hmpOption,
  measuring,
  measuringCurves,
  modeOption,
  onTarget,
  SEVERAL,
  unitOption,
  waiting,
} from './shared-options.js'
import { runWatch, type WatchCommandOptions } from './watch.js'

export function addCalc(program: Command, act: Act): void {
  measuring(
    program.command('calc').description('measure a target once, or several at once'),
    SEVERAL,
  )
    .option('--window <duration>', 'how long to measure', '1s')
    .addOption(cellsOption())
    .addOption(unitOption())
    .addOption(hmpOption())
    .action((targets: string[], options: CalcOptions) =>
      act(session => runCalc(session, targets, options)),
    )
}

export function addCurve(program: Command, act: Act): void {
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
}

export function addWatch(program: Command, act: Act): void {
  measuring(
    program
      .command('watch')
      .description(
        'measure a target again and again. A terminal shows one line that is rewritten; --json prints a document in each line',
      ),
    SEVERAL,
  )
    .option('--every <duration>', 'how long each window is', '1s')
    .addOption(cellsOption())
    .addOption(unitOption())
    .option('--count <n>', 'how many windows (default: until interrupted)')
    .addOption(csvOption())
    .addOption(hmpOption())
    .action((targets: string[], options: WatchCommandOptions) =>
      act(session => runWatch(session, targets, options)),
    )
}

export function addPredict(program: Command, act: Act): void {
  measuringCurves(
    program
      .command('predict')
      .description(
        'predict whether a live migration will end and how long it takes, or how large the next incremental snapshot is, from a curve that is measured now or was saved',
      ),
    'default: 50ms,100ms,200ms,500ms,1s,2s,5s,10s; for libvirt: without monitor=yes 1s,2s,5s',
    '[target]',
  )
    .option(
      '--curve <file>',
      'a saved curve, instead of a target: what curve --save has written, or a recording of serve',
    )
    .option(
      '--target <uri>',
      'the target whose curve is used, if the recording has curves of several',
    )
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
}

export function addQmp(program: Command, act: Act): void {
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
}

/** Adds `audit`, and the hidden command for the process that it starts to read a guest's memory. */
export function addAudit(program: Command, act: Act): void {
  const audit = onTarget(
    program
      .command('audit')
      .description(
        'show why the dirty rate during a migration differs from the one measured before: which part is sampling, which the window, and which the migration itself',
      ),
  )
    .addOption(
      modeOption(
        'what the samples are compared with; auto is the exact mode of a VM that this command makes, and the most samples for other VMs',
      ),
    )
    .addOption(forceOption())
    .option(
      '--window <duration>',
      'the window in which a rate is measured before a migration',
      '1s',
    )
    .option('--downtime <duration>', 'the window of the last passes of a migration', '300ms')
    .option('--bandwidth <rate>', 'how fast the memory is read: the speed of the link', '10Gbit/s')
    .option('--rounds <n>', 'how many measurements of each kind', '5')
  waiting(audit)
    .addOption(unitOption())
    .action((target: string, options: AuditOptions) =>
      act(session => runAudit(session, target, options)),
    )

  program
    .command('read-memory', { hidden: true })
    .argument('<task>')
    .action((task: string) => act(session => runReadMemory(session, task)))
}
