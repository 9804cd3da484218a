/** The command `plan`: its options and their texts. */

import type { Command } from 'commander'
import { planMethods } from '../prediction/plan/options.js'
import { profileNames } from '../prediction/profiles.js'
import { HOST_LABEL } from './plan/prometheus/hosts.js'
import { MAX_AGE } from './plan/prometheus/run.js'
import { type PlanCommandOptions, runPlan } from './plan.js'
import type { Act } from './session.js'
import { choosing } from './shared-options.js'

export function addPlan(program: Command, act: Act): void {
  program
    .command('plan')
    .description(
      'plan how to empty a host, from saved curves of its VMs or from a Prometheus: the order, the method and the time of each migration, and which VMs stay. It migrates nothing',
    )
    .argument(
      '[curve...]',
      'files that curve --save or predict --save has written, one for each VM, or folders of such files, whose names end in .json',
    )
    .requiredOption(
      '--bandwidth <rate>',
      'what the link carries, which all migrations share: 25Gbit/s',
    )
    .requiredOption('--downtime <duration>', 'how long each guest may stand still: 300ms')
    .option(
      '--methods <list>',
      `what is allowed, separated by commas: ${planMethods.join(', ')}; each VM goes by the first one that surely works (default: live)`,
    )
    .option(
      '--most-downtime <duration>',
      'with the method more-downtime, how long a guest may stand still at most',
    )
    .option(
      '--bandwidth-per-vm <rate>',
      'what one migration carries at most (default: the whole link)',
    )
    .option('--parallel <n>', 'how many migrations may run at once (default: 8)')
    .option(
      '--overhead <duration>',
      'how long each migration takes beside the copying, without using the link (default: 0s)',
    )
    .option(
      '--channels <n>',
      'with the method compression, how many CPUs may compress (default: 8)',
    )
    .addOption(
      choosing('--profile <name>', 'the software of the VMs (default: qemu)', profileNames),
    )
    .option(
      '--device-state <duration>',
      'how long the state of the devices takes while a guest stands still (default: 0s)',
    )
    .option('--memory <size>', 'the memory of each VM whose curve does not say it')
    .option('--commands', 'print commands of virsh to copy, in place of the table', false)
    .option(
      '--to <uri>',
      'with --commands, the libvirt of the destination: qemu+ssh://other/system',
    )
    .option(
      '--prometheus <url>',
      'take the curves of all VMs from the metrics of dirtyrate serve in this Prometheus, and make a plan for each host',
    )
    .option(
      '--host <names>',
      'with --prometheus, only these hosts, separated by commas; the port may be left out',
    )
    .option(
      '--host-label <name>',
      `with --prometheus, the label whose values are the hosts (default: ${HOST_LABEL})`,
    )
    .option(
      '--match <matchers>',
      'with --prometheus, only series with these labels: job="dirtyrate",site="a"',
    )
    .option(
      '--max-age <duration>',
      `with --prometheus, how old a curve may be (default: ${MAX_AGE})`,
    )
    .option('--token-file <file>', 'with --prometheus, a file with the bearer token for it')
    .option(
      '--basic-auth-file <file>',
      'with --prometheus, a file with the name and the password for it, as NAME:PASSWORD',
    )
    .option(
      '--ca-file <file>',
      'with --prometheus, a PEM file with the certificates of the authorities to trust',
    )
    .usage('[options] --bandwidth <rate> --downtime <duration> (<curve...> | --prometheus <url>)')
    .action((curves: string[], options: PlanCommandOptions) =>
      act(session => runPlan(session, curves, options)),
    )
}
