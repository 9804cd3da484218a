/** The commands that fill a terminal: their options and their texts. */

import type { Command } from 'commander'
import { profileNames } from '../prediction/profiles.js'
import { type HeatmapOptions, runHeatmap } from './heatmap.js'
import type { Act } from './session.js'
import { choosing, measuring, unitOption } from './shared-options.js'
import { colorDepths } from './terminal.js'
import { sortings } from './top/rows.js'
import { runTop, type TopOptions } from './top.js'

export function addHeatmap(program: Command, act: Act): void {
  measuring(
    program
      .command('heatmap')
      .description(
        'show where a target dirties its memory: the guest address from left to right, and time from top to bottom, until interrupted or q is pressed',
      ),
  )
    .option('--every <duration>', 'how long each window is; a window is one row', '1s')
    .option(
      '--cell <size>',
      'count pages in cells of this size (default: 2MiB, and larger for more than 32 GiB of memory)',
    )
    .option('--count <n>', 'how many windows (default: until interrupted)')
    .addOption(
      choosing(
        '--color <depth>',
        'show rates in 24-bit colours, in 256 colours, or with characters; auto is what the terminal has',
        colorDepths,
      ).default('auto'),
    )
    .action((target: string, options: HeatmapOptions) =>
      act(session => runHeatmap(session, target, options)),
    )
}

export function addTop(program: Command, act: Act): void {
  measuring(
    program
      .command('top')
      .description(
        'show the dirty rates of all virtual machines that dirtyrate list finds, or of these targets, again and again. On a terminal it fills the screen, and the key h shows all keys',
      ),
    '[target...]',
    { withAll: false },
  )
    .usage('[options] [target...]')
    .option('--every <duration>', 'the time from one measurement of a VM to the next one', '2s')
    .option('--window <duration>', 'how long each measurement is', '1s')
    .addOption(unitOption())
    .addOption(
      choosing('--sort <column>', 'which column the VMs are sorted by', sortings).default('rate'),
    )
    .option('--count <n>', 'how many tables (default: until interrupted)')
    .option(
      '--bandwidth <rate>',
      'say whether a live migration would end over a link of this bandwidth',
    )
    .option(
      '--downtime <duration>',
      'how long the guest may stand still at the end of this migration',
    )
    .addOption(
      choosing(
        '--profile <name>',
        'the software of the VMs; qemu-8.1 is QEMU 8.1 (default: qemu)',
        profileNames,
      ),
    )
    .option(
      '--curve-every <duration>',
      'the time from one curve of a VM to the next one; the verdict comes from the curve',
      '5min',
    )
    .option('--windows <list>', 'the windows of the curve, separated by commas')
    .action((targets: string[], options: TopOptions) =>
      act(session => runTop(session, targets, options)),
    )
}
