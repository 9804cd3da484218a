/** The part of a command's help that is about targets. */

import { schemes } from '../targets/open.js'
import { choicesOf, type TargetOption } from '../targets/scheme.js'
import { named } from './table.js'
import { wrap } from './text.js'

/** The width of the help if there is no limit. */
const DEFAULT_COLUMNS = 80
const INDENT = '  '

/** Three command lines of each command that takes a target, from the usual one to a rare one. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  calc: [
    'dirtyrate calc libvirt:web --window 2s',
    'dirtyrate calc guest:random,pages=100000,rate=100MiB/s,memory=2GiB --mode page-sampling',
    "dirtyrate calc kernel:bzImage,initrd=rootfs.cpio,cmdline=console=ttyS0 --until-console 'login:'",
  ],
  curve: [
    'dirtyrate curve pid:4711',
    'dirtyrate curve guest:random,pages=100000 --windows 50ms,200ms,1s --unit Gbit/s',
    'dirtyrate curve guest:stride,rate=100MiB/s --csv >curve.csv',
  ],
  predict: [
    'dirtyrate predict libvirt:web,outside=yes --bandwidth 10Gbit/s --downtime 300ms',
    'dirtyrate predict guest:random,rate=100MiB/s --bandwidth 1Gbit/s --downtime 100ms --save curve.json',
    'dirtyrate predict pid:4711 --bandwidth 1Gbit/s,10Gbit/s --downtime 300ms --matrix',
  ],
  watch: [
    'dirtyrate watch qmp:/run/vm.sock',
    'dirtyrate watch guest:stride,vcpus=2 --mode dirty-ring --every 500ms --count 10',
    'dirtyrate watch guest:random --delay 2s --json',
  ],
  heatmap: [
    'dirtyrate heatmap pid:4711',
    'dirtyrate heatmap guest:stride,pages=100000,memory=8GiB --every 200ms',
    'dirtyrate heatmap libvirt:web,outside=yes --count 10 --color ascii',
  ],
  top: [
    'dirtyrate top',
    'dirtyrate top --bandwidth 10Gbit/s --downtime 300ms --sort verdict',
    'dirtyrate top guest:stride,rate=100MiB/s guest:idle --every 1s --count 3',
  ],
  serve: [
    'dirtyrate serve libvirt:web --bandwidth 10Gbit/s --downtime 300ms',
    'dirtyrate serve --config /etc/dirtyrate/serve.yaml',
    'dirtyrate serve pid:4711 pid:4712 --listen 192.0.2.7:9753 --token-file /etc/dirtyrate/token',
  ],
  audit: [
    'dirtyrate audit libvirt:web,outside=yes --bandwidth 10Gbit/s --downtime 300ms',
    'dirtyrate audit guest:random,pages=50000,rate=100MiB/s --rounds 3',
    'dirtyrate audit qmp:/run/vm.sock --mode dirty-bitmap',
  ],
  qmp: [
    'dirtyrate qmp guest:stride,rate=100MiB/s --socket /tmp/vm.qmp',
    'dirtyrate qmp guest:random,log=ring,vcpus=2 --socket /tmp/vm.qmp',
    'dirtyrate qmp kernel:bzImage,initrd=rootfs.cpio --socket /tmp/vm.qmp --json',
  ],
}

/** The examples in the help of a command. They are not wrapped, so that they can be copied. */
export function examplesHelp(examples: readonly string[]): string {
  return ['', 'Examples:', ...examples.map(example => INDENT + example)].join('\n')
}

/** A title, and the words below it with their meanings. */
export interface TargetSection {
  title: string
  options: { text: string; meaning: string }[]
}

/** The form of each kind of target. */
export function targetForms(): string {
  return schemes.map(({ name, operand }) => `${name}:${operand},KEY=VALUE,...`).join(' or ')
}

/**
 * What can follow the colon for each kind of target, then the options of each kind, then the
 * options that several kinds share.
 */
export function targetSections(): TargetSection[] {
  const operands = schemes.flatMap(({ operand, operands: words }) =>
    words === undefined ? [] : [section(`What ${operand} can be:`, Object.entries(words))],
  )
  const own = schemes.map(({ name, operand, options }) =>
    section(`Options of ${name}:${operand}:`, Object.entries(options).map(shown)),
  )
  const shared = [...new Set(schemes.map(({ common }) => common))].map(common => {
    const users = schemes.filter(scheme => scheme.common === common).map(({ name }) => name)
    return section(`Options of ${users.join(' and ')}:`, Object.entries(common).map(shown))
  })
  return [...operands, ...own, ...shared].filter(({ options }) => options.length > 0)
}

const section = (title: string, words: readonly (readonly [string, string])[]): TargetSection => ({
  title,
  options: words.map(([text, meaning]) => ({ text, meaning })),
})

/** An option with its value, and its meaning with its choices and its default. */
function shown([key, option]: readonly [string, TargetOption]): readonly [string, string] {
  const { value, default: otherwise, meaning } = option
  const notes = [
    ...(option.choices === undefined ? [] : [choicesOf(option).join(', ')]),
    ...(otherwise === undefined ? [] : [`default: ${otherwise}`]),
  ]
  return [`${key}=${value}`, notes.length === 0 ? meaning : `${meaning} (${notes.join('; ')})`]
}

/** The sections as the help of a command prints them. */
export function targetHelp(columns: number = DEFAULT_COLUMNS): string {
  const written = targetSections()
  const indent =
    Math.max(...written.flatMap(({ options }) => options.map(({ text }) => text.length))) + 2
  const lines = written.flatMap(({ title, options }) => [
    '',
    title,
    ...options.flatMap(({ text, meaning }) =>
      named(text, meaning, indent, columns - INDENT.length).map(line => INDENT + line),
    ),
  ])
  return [...lines, '', ...wrap('A comma in a value is written ,,', columns)].join('\n')
}
