/** What the help of a command says about its target. */

import { MACHINE_OPTIONS, SCHEME_OPTIONS, type TargetOption } from '../targets/vm/options.js'
import { workloadKinds } from '../targets/vm/workload.js'
import { named } from './table.js'
import { wrap } from './text.js'

/** The width of help where nothing limits it. */
const DEFAULT_COLUMNS = 80
const INDENT = '  '

/** The kinds of targets, and every option of each. */
export function targetHelp(columns: number = DEFAULT_COLUMNS): string {
  const sections: [string, Readonly<Record<string, TargetOption>>][] = [
    ...Object.entries(SCHEME_OPTIONS).map(([form, options]): [string, typeof options] => [
      `Options of ${form}:`,
      options,
    ]),
    ['Options of both:', MACHINE_OPTIONS],
  ]
  const written = sections.map(([title, options]) => ({
    title,
    options: Object.entries(options).map(([key, { value, meaning }]) => ({
      text: `${key}=${value}`,
      meaning,
    })),
  }))
  const indent = Math.max(...written.flatMap(({ options }) => options.map(({ text }) => text.length))) + 2
  const lines = written.flatMap(({ title, options }) => [
    '',
    title,
    ...options.flatMap(({ text, meaning }) =>
      named(text, meaning, indent, columns - INDENT.length).map(line => INDENT + line),
    ),
  ])
  return [
    ...lines,
    '',
    ...wrap(`A WORKLOAD is one of ${workloadKinds.join(', ')}. A comma in a value is written ,,`, columns),
  ].join('\n')
}
