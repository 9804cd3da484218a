/** One client's requests and their answers: the negotiation, and QEMU's checks in QEMU's order. */

import { codeOf, isError } from '../../ground/errors.js'
import { checkArguments } from '../../qapi/arguments.js'
import { QapiError } from '../../qapi/error.js'
import { commandTypes } from '../../qapi/schema.js'
import type { Commands } from './commands.js'
import { type Json, type JsonObject, plain } from './json.js'
import type { Request } from './requests.js'
import { VERSION } from './version.js'

/** What a client gets before it has said anything. */
export const GREETING: object = { QMP: { version: VERSION, capabilities: ['oob'] } }

const NEGOTIATION = 'qmp_capabilities'

/** A request whose form is right. */
interface Call {
  readonly name: string
  readonly outOfBand: boolean
  readonly args: unknown
}

export class Dispatcher {
  readonly #commands: Commands
  #isNegotiated = false
  #hasOutOfBand = false

  constructor(commands: Commands) {
    this.#commands = commands
  }

  /** Whether the client has ended the negotiation: it gets events from then on. */
  get isNegotiated(): boolean {
    return this.#isNegotiated
  }

  /** The answer to a request, with the request's id. Never rejects. */
  async answer(request: Request): Promise<object> {
    if ('error' in request) return refusal(new QapiError(request.error))
    const { value } = request
    const id = value instanceof Map && value.has('id') ? { id: value.get('id') } : {}
    try {
      return { return: await this.#run(this.#read(value)), ...id }
    } catch (error) {
      return { ...id, ...refusal(error) }
    }
  }

  async #run({ name, outOfBand, args }: Call): Promise<unknown> {
    if (!this.#isNegotiated) return this.#negotiate(name, args)
    const command = this.#commands.find(name)
    if (outOfBand) throw new QapiError(`The command ${name} does not support OOB`)
    checkArguments(args, command.args)
    return this.#commands.run(command, args as Readonly<Record<string, unknown>>)
  }

  #negotiate(name: string, args: unknown): object {
    if (name !== NEGOTIATION)
      throw new QapiError(`Expecting capabilities negotiation with '${NEGOTIATION}'`, {
        class: 'CommandNotFound',
      })
    checkArguments(args, commandTypes[NEGOTIATION].args)
    const { enable = [] } = args as { enable?: readonly string[] }
    this.#hasOutOfBand = enable.includes('oob')
    this.#isNegotiated = true
    return {}
  }

  #read(value: Json): Call {
    if (!(value instanceof Map)) throw new QapiError('QMP input must be a JSON object')
    let found: { name: string; outOfBand: boolean } | undefined
    let args: unknown = {}
    for (const [member, given] of value as JsonObject) {
      switch (member) {
        case 'execute':
        case 'exec-oob':
          if (member === 'exec-oob' && !this.#hasOutOfBand) throw unexpected(member)
          found = { name: commandName(member, given, found), outOfBand: member === 'exec-oob' }
          break
        case 'arguments':
          if (!(given instanceof Map))
            throw new QapiError("QMP input member 'arguments' must be an object")
          args = plain(given)
          break
        case 'id':
          break
        default:
          throw unexpected(member)
      }
    }
    if (found === undefined) throw new QapiError("QMP input lacks member 'execute'")
    return { ...found, args }
  }
}

function commandName(member: string, given: Json, found: object | undefined): string {
  if (typeof given !== 'string')
    throw new QapiError(`QMP input member '${member}' must be a string`)
  if (found !== undefined) throw new QapiError("QMP input member 'execute' clashes with 'exec-oob'")
  return given
}

const unexpected = (member: string): QapiError =>
  new QapiError(`QMP input member '${member}' is unexpected`)

/** An error as QMP sends it. What QEMU has no words for is a GenericError with ours. */
function refusal(error: unknown): { error: { class: string; desc: string } } {
  const isQemus = codeOf(error) === 'ERR_QAPI'
  return {
    error: {
      class: isQemus ? (error as QapiError).class : 'GenericError',
      desc: isError(error) ? error.message : String(error),
    },
  }
}
