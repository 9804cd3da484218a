/** The manual pages, in roff, made from the commands' definitions. */

import type { Command, Option } from 'commander'
import { EXIT_MEANINGS } from './exit.js'
import { makeProgram } from './program.js'
import { EXAMPLES, targetForms, targetSections } from './target-help.js'

/** A page: the name of its file, and its text. */
export interface Page {
  file: string
  text: string
}

/** The page of the program, then one of each command. */
export function manualPages(): Page[] {
  const program = makeProgram(async () => {})
  const commands = program
    .createHelp()
    .visibleCommands(program)
    .filter(command => command.name() !== 'help')
  const names = commands.map(command => `dirtyrate-${command.name()}`)
  const of = (name: string, parts: string[]): Page => ({
    file: `${name}.1`,
    text: `${[`.TH ${escaped(name.toUpperCase())} 1 "" "dirtyrate ${program.version()}" "dirtyrate"`, '.nh', '.ad l', ...parts].join('\n')}\n`,
  })
  return [
    of('dirtyrate', [
      ...heading('NAME', `dirtyrate \\- ${escaped(program.description())}`),
      ...heading('SYNOPSIS', '.B dirtyrate', escaped('COMMAND [options]')),
      ...heading(
        'COMMANDS',
        ...commands.flatMap(command => term(command.name(), command.description())),
      ),
      ...heading('OPTIONS', ...options(program.options)),
      ...heading(
        'EXIT STATUS',
        ...EXIT_MEANINGS.flatMap(([status, meaning]) => term(status, meaning)),
      ),
      ...seeAlso(names),
    ]),
    ...commands.map(command => of(`dirtyrate-${command.name()}`, pageOf(program, command))),
  ]
}

function pageOf(program: Command, command: Command): string[] {
  const examples = EXAMPLES[command.name()] ?? []
  return [
    ...heading(
      'NAME',
      `${escaped(`dirtyrate-${command.name()}`)} \\- ${escaped(command.description())}`,
    ),
    ...heading('SYNOPSIS', `.B dirtyrate ${escaped(command.name())}`, escaped(command.usage())),
    ...heading('OPTIONS', ...options([...command.options, ...program.options])),
    ...(examples.length === 0 ? [] : targetParts()),
    ...(examples.length === 0 ? [] : heading('EXAMPLES', '.nf', ...examples.map(escaped), '.fi')),
    ...heading(
      'EXIT STATUS',
      ...EXIT_MEANINGS.flatMap(([status, meaning]) => term(status, meaning)),
    ),
    ...seeAlso(['dirtyrate']),
  ]
}

function targetParts(): string[] {
  return [
    ...heading('TARGETS', escaped(targetForms())),
    ...targetSections().flatMap(({ title, options: words }) => [
      `.SS ${escaped(title.replace(/:$/, ''))}`,
      ...words.flatMap(({ text, meaning }) => term(text, meaning)),
    ]),
  ]
}

function options(list: readonly Option[]): string[] {
  return list.flatMap(option => {
    const choices =
      option.argChoices === undefined ? [] : [`One of ${option.argChoices.join(', ')}.`]
    const byDefault =
      typeof option.defaultValue === 'string' ? [`The default is ${option.defaultValue}.`] : []
    return term(option.flags, [`${option.description}.`, ...choices, ...byDefault].join(' '))
  })
}

const heading = (title: string, ...lines: string[]): string[] => [`.SH ${title}`, ...lines]

const term = (word: string, meaning: string): string[] => [
  '.TP',
  `.B ${escaped(word)}`,
  escaped(meaning),
]

function seeAlso(names: readonly string[]): string[] {
  return heading(
    'SEE ALSO',
    ...names.map((name, at) => `.BR ${escaped(name)} (1)${at < names.length - 1 ? ',' : ''}`),
  )
}

/**
 * `text` as a line of roff. Characters that roff would take for an escape or a request are escaped.
 */
function escaped(text: string): string {
  const plain = text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq')
  return plain.startsWith('.') ? `\\&${plain}` : plain
}
