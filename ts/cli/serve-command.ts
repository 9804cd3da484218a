/** The command `serve`: its options and their texts. */

import type { Command } from 'commander'
import { profileNames } from '../prediction/profiles.js'
import { DEFAULT_LISTEN, type ServeOptions } from './serve/options.js'
import { runServe } from './serve.js'
import type { Act } from './session.js'
import { choosing, measuring } from './shared-options.js'

export function addServe(program: Command, act: Act): void {
  measuring(
    program
      .command('serve')
      .description(
        'measure targets again and again, and serve the figures by HTTP: as metrics for Prometheus, and on a page',
      ),
    '[target...]',
    { withAll: false },
  )
    .usage('[options] [--config <file>] <target...>')
    .option(
      '--config <file>',
      'a YAML file that says what to measure on a whole host; SIGHUP makes serve read it again',
    )
    .option(
      '--listen <address>',
      'where to listen: an IP address and a port; port 0 is any free one',
      DEFAULT_LISTEN,
    )
    .option(
      '--token-file <file>',
      'the file of the token that each request must have; needed if other hosts reach the address (or: the variable DIRTYRATE_TOKEN)',
    )
    .option('--tls-cert <file>', 'encrypt with this certificate, a PEM file with its chain')
    .option('--tls-key <file>', 'the key of the certificate, a PEM file')
    .option(
      '--allow-host <names>',
      'further names of this host that requests may use, separated by commas',
    )
    .option(
      '--otlp <url>',
      'also push the metrics by OTLP over HTTP, to a collector such as http://localhost:4318',
    )
    .option('--otlp-every <duration>', 'the time from one push to the next one', '1min')
    .option('--record <file>', 'also write what is measured to this file, as lines of JSON')
    .option('--recording <file>', 'show a file of --record, and measure nothing')
    .option(
      '--budget <percent>',
      'the CPU time that measuring may take, in percent of one CPU: 2%; periods get longer to keep it',
    )
    .option('--every <duration>', 'the time from one measurement to the next one', '10s')
    .option('--window <duration>', 'how long each measurement is', '1s')
    .option('--curve-every <duration>', 'the time from one curve to the next one, or never', '5min')
    .option(
      '--windows <list>',
      'the windows of the curve, separated by commas, at most 32 (default: 50ms,100ms,200ms,500ms,1s,2s,5s; for libvirt: without monitor=yes 1s,2s,5s)',
    )
    .option(
      '--bandwidth <list>',
      'predict migrations over links of these bandwidths, separated by commas: 10Gbit/s,25Gbit/s',
    )
    .option(
      '--downtime <list>',
      'the downtimes of these predictions, separated by commas: 300ms,1s',
    )
    .addOption(
      choosing(
        '--profile <name>',
        'the software of the VMs; qemu-8.1 is QEMU 8.1 (default: qemu)',
        profileNames,
      ),
    )
    .action((targets: string[], options: ServeOptions, command: Command) =>
      act(session =>
        runServe(
          session,
          targets,
          options,
          option => command.getOptionValueSource(option) === 'cli',
        ),
      ),
    )
}
