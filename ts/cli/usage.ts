/**
 * Runs the program, and handles what happens outside of a command: help, a wrong command line, a
 * defect.
 */

import { type Command, CommanderError, Help, type Option } from 'commander'
import { argumentError } from '../ground/errors.js'
import { closest, knownNames } from '../ground/suggest.js'
import { EXIT_FAILED, EXIT_OK, EXIT_USAGE } from './exit.js'
import { failureDocument, failureLines, failureStatus } from './failure.js'
import type { Output } from './output.js'
import { type GlobalOptions, Session } from './session.js'
import { endWithTerminal } from './terminal.js'

interface Outputs {
  out: Output
  err: Output
}

/**
 * Parses the command line of the process, runs the command that it names, and sets the exit status.
 */
export async function runProgram(program: Command, outputs: Outputs): Promise<void> {
  const { out, err } = outputs
  /** The command whose part of the command line could not be used. */
  let failed: string | undefined
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride(error => {
        failed = command.name()
        throw error
      })
      .showSuggestionAfterError(true)
      .configureOutput({
        writeOut: text => out.write(text),
        // This is the help for a command line without a command. With --json a document is printed
        // instead.
        writeErr: text => err.write(asksForJson() ? '' : text),
        // The message is reported below, in our own form.
        outputError: () => {},
      })
      .configureHelp({ showGlobalOptions: true, optionDescription })
  }
  endWithTerminal()
  process.on('uncaughtException', error => process.exit(reportDefect(error, outputs)))
  try {
    await program.parseAsync()
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    const json = asksForJson()
    const options: GlobalOptions = { json, quiet: true, logLevel: 'off', trace: false }
    process.exitCode = await new Session(options, outputs).run(async session => {
      if (error.exitCode === EXIT_OK) return EXIT_OK
      const isHelp = error.code === 'commander.help'
      if (isHelp && !json) return EXIT_USAGE
      // A watch prints one document in each line.
      if (failed === 'watch' || failed === 'heatmap' || failed === 'top') session.streamDocuments()
      throw isHelp
        ? usageError('no command is given')
        : usageError(error.message, likelyMeant(error, program))
    })
  }
}

/** What the help says of an option. That a switch is off unless it is given is not said. */
function optionDescription(option: Option): string {
  return option.defaultValue === false ? option.description : new Help().optionDescription(option)
}

/**
 * Adds the command `help [command]`; `act` runs an action. It replaces commander's own command,
 * whose error does not name an unknown command.
 */
export function addHelpCommand(
  program: Command,
  act: (run: () => Promise<number>) => Promise<void>,
): void {
  program
    .helpCommand(false)
    .command('help')
    .argument('[command]')
    .description('the help of a command')
    .action((name: string | undefined) => {
      if (name === undefined) return program.help()
      const found = program.commands.find(command => command.name() === name)
      if (found !== undefined) return found.help()
      const shown = program.createHelp().visibleCommands(program)
      const names = shown.map(command => command.name())
      return act(async () => {
        throw argumentError(`help: there is no command '${name}'`, knownNames(name, names))
      })
    })
}

/** Whether the command line has --json, even if it could not be parsed. */
function asksForJson(): boolean {
  const args = process.argv.slice(2)
  const end = args.indexOf('--')
  return args.slice(0, end < 0 ? args.length : end).includes('--json')
}

function usageError(message: string, meant = ''): Error {
  // commander puts a suggestion into a line of its own.
  const text = message.replace(/^error: /, '').replaceAll('\n', ' ')
  return argumentError(text, `${meant}See dirtyrate --help, and --help of each command.`)
}

/**
 * A suggestion for an unknown choice, for an option of another command, or for a target that was
 * written as several words.
 */
function likelyMeant({ code, message }: CommanderError, program: Command): string {
  if (code === 'commander.unknownOption') return commandsWith(message, program)
  if (
    code === 'commander.excessArguments' &&
    process.argv.slice(2).some(word => /^[a-z-]+=/.test(word))
  )
    return 'A target is one word, with commas between its options: guest:stride,memory=4GiB. '
  const [match, given = '', choices = ''] =
    /argument '(.*)' is invalid\. Allowed choices are (.*)\.$/s.exec(message) ?? []
  if (match === undefined) return ''
  const meant = closest(given, choices.split(', '))
  return meant === undefined ? '' : `Did you mean '${meant}'? `
}

/** The commands that have the option which another command does not know. */
function commandsWith(message: string, program: Command): string {
  const [, flag] = /unknown option '(-[^'=]*)/.exec(message) ?? []
  const owners = program
    .createHelp()
    .visibleCommands(program)
    .filter(({ options }) => options.some(({ long, short }) => flag === long || flag === short))
    .map(command => command.name())
  if (flag === undefined || owners.length === 0) return ''
  return `${flag} is an option of ${new Intl.ListFormat('en').format(owners)}. `
}

/** Reports an error that no code has caught, in the same form as every other failure. */
function reportDefect(error: unknown, { out, err }: Outputs): number {
  if (asksForJson()) out.write(failureDocument(error, true))
  else err.write(failureLines(error))
  return failureStatus(error) || EXIT_FAILED
}
