/** The commands that fill a terminal: their options and their texts. */

import type { Command } from 'commander'
import { type HeatmapOptions, runHeatmap } from './heatmap.js'
import type { Act } from './session.js'
import { choosing, measuring } from './shared-options.js'
import { colorDepths } from './terminal.js'

export function addHeatmap(program: Command, act: Act): void {
  measuring(
    program
      .command('heatmap')
      .description(
        'show where a target dirties its memory: the guest address from left to right, and time from above to below, until interrupted or q is pressed',
      ),
  )
    .option('--every <duration>', 'how long each window is, which is one row', '1s')
    .option(
      '--cell <size>',
      'count pages in cells of this size (default: 2MiB, or more for more than 32 GiB)',
    )
    .option('--count <n>', 'how many windows (default: until interrupted)')
    .addOption(
      choosing(
        '--color <depth>',
        'show rates in 24-bit colours, in 256 colours, or by characters; auto is what the terminal has',
        colorDepths,
      ).default('auto'),
    )
    .action((target: string, options: HeatmapOptions) =>
      act(session => runHeatmap(session, target, options)),
    )
}
