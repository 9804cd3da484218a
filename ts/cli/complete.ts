/**
 * The candidates for completing a command line: commands, options, their values, and the parts of a
 * target. Shells ask for them at each Tab.
 */

import { type Dirent, readdirSync } from 'node:fs'
import type { Command, Option } from 'commander'
import { schemes } from '../targets/open.js'
import { choicesOf, type Scheme, type TargetOption } from '../targets/scheme.js'
import { escapeOption, parseTargetUri } from '../targets/uri.js'
import { EXIT_OK } from './exit.js'
import type { Session } from './session.js'

/** A candidate for the last word of a command line. */
export interface Candidate {
  word: string
  /** What the candidate means, for shells that show it. */
  meaning: string
}

/** Options of commands whose value is the name of a file. */
const FILES = ['--output', '--socket']
/** What stands for the name of a file in the forms of targets and of their options. */
const FILE = 'FILE'
/** What stands for the name of a socket there. */
const SOCKET = 'SOCKET'

/** The candidates for the last of `words`. `words` are the words after the program's name. */
export function candidates(program: Command, words: readonly string[]): Candidate[] {
  const last = words.at(-1) ?? ''
  return everything(program, words.slice(0, -1), last).filter(
    ({ word }) => word.startsWith(last) && word !== '',
  )
}

/** `dirtyrate complete -- WORDS` prints each candidate in a line, with its meaning after a tab. */
export async function runComplete(
  session: Session,
  program: Command,
  typed: readonly string[],
): Promise<number> {
  for (const { word, meaning } of candidates(program, typed)) session.write(`${word}\t${meaning}\n`)
  return EXIT_OK
}

function everything(program: Command, before: readonly string[], last: string): Candidate[] {
  const { command, waiting, values } = parse(program, before)
  if (waiting !== undefined) return valuesOf(waiting, last)
  const [, name, value] = /^(--[a-z-]+)=(.*)$/s.exec(last) ?? []
  if (name !== undefined && value !== undefined) {
    const option = optionsOf(program, command).find(({ long }) => long === name)
    return option === undefined ? [] : prefixed(`${name}=`, valuesOf(option, value))
  }
  if (last.startsWith('-')) {
    const options = optionsOf(program, command).map(({ long, description }) => ({
      word: long ?? '',
      meaning: description,
    }))
    return [...options, { word: '--help', meaning: 'display help for command' }]
  }
  if (command === program || (command.name() === 'help' && values === 0)) return commandsOf(program)
  const rest = command.registeredArguments.at(-1)
  const argument =
    command.registeredArguments[values] ?? (rest?.variadic === true ? rest : undefined)
  if (argument === undefined) return []
  if (argument.name() === 'curve') return files(last)
  return argument.name() === 'target' ? targets(last) : words(argument.argChoices ?? [], '')
}

/**
 * Finds the command of a line, the option whose value comes next, and how many arguments the
 * command has already.
 */
function parse(
  program: Command,
  before: readonly string[],
): { command: Command; waiting: Option | undefined; values: number } {
  let command = program
  let waiting: Option | undefined
  let values = 0
  let onlyValues = false
  for (const word of before) {
    if (waiting !== undefined) waiting = undefined
    else if (word === '--') onlyValues = true
    else if (word.startsWith('-') && !onlyValues) {
      const option = optionsOf(program, command).find(
        ({ long, short }) => word === long || word === short,
      )
      waiting = option?.required === true ? option : undefined
    } else if (command === program)
      command = program.commands.find(known => known.name() === word) ?? command
    else values++
  }
  return { command, waiting, values }
}

/** A command's own options, then those of every command. */
function optionsOf(program: Command, command: Command): readonly Option[] {
  return command === program ? program.options : [...command.options, ...program.options]
}

/** The commands that the help lists. */
function commandsOf(program: Command): Candidate[] {
  const shown = program.createHelp().visibleCommands(program)
  return shown.map(command => ({ word: command.name(), meaning: command.description() }))
}

function valuesOf({ long, argChoices }: Option, last: string): Candidate[] {
  return FILES.includes(long ?? '') ? files(last) : words(argChoices ?? [], '')
}

const words = (choices: readonly string[], meaning: string): Candidate[] =>
  choices.map(word => ({ word, meaning }))

const prefixed = (prefix: string, found: readonly Candidate[]): Candidate[] =>
  found.map(({ word, meaning }) => ({ word: prefix + word, meaning }))

/** The parts of a target: schemes, then the names of a scheme, then its options. */
function targets(last: string): Candidate[] {
  const scheme = schemes.find(({ name }) => last.startsWith(`${name}:`))
  if (scheme === undefined)
    return schemes.map(({ name, about }) => ({ word: `${name}:`, meaning: about }))
  // The last part begins after the last comma that is not doubled. A doubled comma is a comma in a
  // value.
  const [, before = '', part = ''] = /^((?:(?:[^,]|,,)*,(?!,))*)(.*)$/s.exec(last) ?? []
  if (before === '') {
    const prefix = last.slice(0, last.indexOf(':') + 1)
    const named = Object.entries(scheme.operands ?? {}).map(([word, meaning]) => ({
      word,
      meaning,
    }))
    const path = last.slice(prefix.length)
    if (scheme.operand === FILE) return prefixed(prefix, filesOfTarget(path))
    if (scheme.operand === SOCKET)
      return prefixed(
        prefix,
        filesOfTarget(path, entry => entry.isSocket()),
      )
    return prefixed(prefix, named)
  }
  const options: Readonly<Record<string, TargetOption>> = { ...scheme.options, ...scheme.common }
  const [key = '', value] = part.split(/=(.*)/s, 2)
  if (value === undefined) {
    const given = [...before.matchAll(/,([a-z-]+)=/g)].map(([, name]) => name)
    const useful = usefulOptions(scheme, before)
    const left = useful.filter(([name]) => !given.includes(name))
    return prefixed(
      before,
      left.map(([name, { meaning }]) => ({ word: `${name}=`, meaning })),
    )
  }
  const option = Object.hasOwn(options, key) ? options[key] : undefined
  if (option === undefined) return []
  return prefixed(
    `${before}${key}=`,
    option.value === FILE ? filesOfTarget(value) : words(choicesOf(option), ''),
  )
}

/** The options that are of use for what is named in `before`, which ends with a comma. */
function usefulOptions(scheme: Scheme, before: string): [string, TargetOption][] {
  const { options, common } = scheme
  let own: readonly string[] = Object.keys(options)
  try {
    own = scheme.useful?.(parseTargetUri(before.slice(0, -1))) ?? own
  } catch {
    // The target is not right so far, so that nobody knows which options are of use.
  }
  return Object.entries({ ...options, ...common }).filter(
    ([name]) => own.includes(name) || Object.hasOwn(common, name),
  )
}

/** The files whose paths begin with `path`; the commas of `path` and of the files are doubled. */
function filesOfTarget(path: string, isWanted?: (entry: Dirent) => boolean): Candidate[] {
  return files(path.replaceAll(',,', ','), isWanted).map(({ word, meaning }) => ({
    word: escapeOption(word),
    meaning,
  }))
}

/**
 * A file name that cannot be a line of the answer to a shell: it has a control character, or it is
 * not UTF-8, so that Node reads it with this sign in place of some bytes.
 */
const UNNAMEABLE = /[\p{Cc}\ufffd]/u

/** The files whose paths begin with `path`, if they are wanted, and folders, with a slash. */
function files(path: string, isWanted: (entry: Dirent) => boolean = () => true): Candidate[] {
  const folder = path.slice(0, path.lastIndexOf('/') + 1)
  let entries: Dirent[]
  try {
    entries = readdirSync(folder === '' ? '.' : folder, { withFileTypes: true })
  } catch {
    return []
  }
  return entries
    .filter(
      entry =>
        !UNNAMEABLE.test(entry.name) &&
        (entry.isDirectory() || isWanted(entry)) &&
        (!entry.name.startsWith('.') || path.slice(folder.length).startsWith('.')),
    )
    .map(entry => ({
      word: `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`,
      meaning: '',
    }))
}
