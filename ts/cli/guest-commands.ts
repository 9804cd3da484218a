/** The commands that make their own guests: their options and their texts. */

import type { Command } from 'commander'
import { type CompareOptions, runCompare } from './compare.js'
import { type DemoOptions, runDemo } from './demo.js'
import { type GuestOptions, runGuest } from './guest.js'
import type { Act } from './session.js'
import { choosing, clockRateOption, makingGuest, rateOption, unitOption } from './shared-options.js'

export function addDemo(program: Command, act: Act): void {
  makingGuest(
    program
      .command('demo')
      .description(
        'measure a guest whose dirty pages are known, in every mode, with the truth beside each figure',
      ),
  )
    .addOption(rateOption())
    .option('--window <duration>', 'how long each measurement is', '1s')
    .option('--rounds <n>', 'how many measurements in each mode', '1')
    .addOption(unitOption())
    .action((options: DemoOptions) => act(session => runDemo(session, options)))
}

export function addGuest(program: Command, act: Act): void {
  makingGuest(
    program
      .command('guest')
      .description('write a guest as an ELF that boots here and in QEMU with -kernel FILE'),
    'the memory of the machine that it will run in',
  )
    .addOption(clockRateOption())
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
}

export function addCompare(program: Command, act: Act): void {
  makingGuest(
    program
      .command('compare')
      .description(
        'run a guest here and in QEMU, and compare what both say with the truth, and what it takes',
      ),
  )
    .addOption(clockRateOption())
    .option('--window <duration>', 'how long each measurement is', '1s')
    .option('--rounds <n>', 'how many measurements in each mode', '5')
    .option('--sample-pages <n>', 'page-sampling: pages looked at per GiB, by both tools', '512')
    .option('--qemu <program>', 'the QEMU to compare with (default: that of this architecture)')
    .addOption(unitOption())
    .action((options: CompareOptions) => act(session => runCompare(session, options)))
}
