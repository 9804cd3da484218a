/** What the help of a command says about its target. */

import { schemes } from '../targets/open.js'
import type { TargetOption } from '../targets/scheme.js'
import { MACHINE_OPTIONS } from '../targets/vm/options.js'
import type { WorkloadKind } from '../targets/vm/workload.js'
import { named } from './table.js'
import { wrap } from './text.js'

/** The width of help where nothing limits it. */
const DEFAULT_COLUMNS = 80
const INDENT = '  '

/** What each workload writes. */
export const WORKLOADS: Readonly<Record<WorkloadKind, string>> = {
  stride: 'every page of its working set in order, over and over',
  random: 'pages at random, each as likely as any',
  'hot-cold': '9 of 10 writes go to a tenth of the pages',
  silent: 'the pages of stride, always the same value: page sampling does not see that',
  idle: 'nothing',
}

/** Three command lines of each command that measures a target, from the usual one to a rare one. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  calc: [
    'dirtyrate calc guest:stride --window 500ms',
    'dirtyrate calc guest:random,pages=100000,rate=100MiB/s,memory=2GiB --mode page-sampling',
    "dirtyrate calc kernel:bzImage,initrd=rootfs.cpio,cmdline=console=ttyS0 --until-console 'login:'",
  ],
  curve: [
    'dirtyrate curve guest:hot-cold',
    'dirtyrate curve guest:random,pages=100000 --windows 50ms,200ms,1s --unit Gbit/s',
    'dirtyrate curve guest:stride,rate=100MiB/s --csv >curve.csv',
  ],
  watch: [
    'dirtyrate watch guest:hot-cold,rate=100MiB/s',
    'dirtyrate watch guest:stride,vcpus=2 --mode dirty-ring --every 500ms --count 10',
    'dirtyrate watch guest:random --delay 2s --json',
  ],
}

/** The examples of a command as its help has them. They stay whole, so that they can be copied. */
export function examplesHelp(examples: readonly string[]): string {
  return ['', 'Examples:', ...examples.map(example => INDENT + example)].join('\n')
}

/** A title, and the words below it with their meanings. */
export interface TargetSection {
  title: string
  options: { text: string; meaning: string }[]
}

/** The workloads, the kinds of targets, and every option of each. */
export function targetSections(): TargetSection[] {
  const sections: [string, Readonly<Record<string, TargetOption>>][] = [
    ...schemes.map(({ name, operand, options }): [string, typeof options] => [
      `Options of ${name}:${operand}:`,
      options,
    ]),
    ['Options of both:', MACHINE_OPTIONS],
  ]
  return [
    { title: 'Workloads:', options: Object.entries(WORKLOADS).map(([text, meaning]) => ({ text, meaning })) },
    ...sections.map(([title, options]) => ({
      title,
      options: Object.entries(options).map(([key, { value, meaning }]) => ({
        text: `${key}=${value}`,
        meaning,
      })),
    })),
  ]
}

/** The sections as a command's help has them. */
export function targetHelp(columns: number = DEFAULT_COLUMNS): string {
  const written = targetSections()
  const indent = Math.max(...written.flatMap(({ options }) => options.map(({ text }) => text.length))) + 2
  const lines = written.flatMap(({ title, options }) => [
    '',
    title,
    ...options.flatMap(({ text, meaning }) =>
      named(text, meaning, indent, columns - INDENT.length).map(line => INDENT + line),
    ),
  ])
  return [...lines, '', ...wrap('A comma in a value is written ,,', columns)].join('\n')
}
