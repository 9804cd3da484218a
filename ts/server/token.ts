/** The token that every request must have, from a file or from the environment. */

import { createHash, timingSafeEqual } from 'node:crypto'
import process from 'node:process'
import { argumentError, isError } from '../ground/errors.js'
import { readFileWithin } from '../ground/read-file.js'

/** The environment variable that has the token, if no file is given. */
export const TOKEN_VARIABLE = 'DIRTYRATE_TOKEN'

/** So many characters of a random token cannot be guessed: 16 hexadecimal digits have 64 bits. */
const SHORTEST = 16
const LONGEST = 4096
const MAKE_ONE = 'Make one: (umask 077; openssl rand -hex 32 >token)'

/** A token that is compared without saying, by the time that it takes, how much of it is right. */
export class Token {
  #digest: Buffer

  constructor(text: string) {
    this.#digest = digestOf(text)
  }

  /** From now on `other` is the token. False if both are the same. */
  become(other: Token): boolean {
    const isOther = !timingSafeEqual(this.#digest, other.#digest)
    this.#digest = other.#digest
    return isOther
  }

  /** Whether the header Authorization has this token, as `Bearer TOKEN`. */
  isIn(authorization: string | undefined): boolean {
    const [, given] = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '') ?? []
    // Digests have one length, whatever was sent.
    return timingSafeEqual(digestOf(given ?? ''), this.#digest) && given !== undefined
  }
}

/**
 * The token in `file`, or in the environment; undefined if there is none. Throws ERR_ARGUMENT for a
 * file that cannot be read, and for a token that could be guessed.
 */
export async function readToken(
  file: string | undefined,
  name: string,
  signal: AbortSignal,
): Promise<Token | undefined> {
  const inEnvironment = process.env[TOKEN_VARIABLE]
  if (file === undefined)
    return inEnvironment === undefined ? undefined : parseToken(inEnvironment, TOKEN_VARIABLE)
  let bytes: Buffer | undefined
  try {
    // Two more bytes may end the line.
    bytes = await readFileWithin(file, LONGEST + 2, signal)
  } catch (error) {
    signal.throwIfAborted()
    const why = isError(error) ? error.message : String(error)
    throw argumentError(`${name}: ${why}`, MAKE_ONE)
  }
  if (bytes === undefined) {
    throw argumentError(`${name}: the token has more than ${LONGEST} characters`, MAKE_ONE)
  }
  return parseToken(bytes.toString('latin1').replace(/\r?\n$/, ''), name)
}

/** The message never has the token. */
function parseToken(text: string, name: string): Token {
  if (text.length < SHORTEST || text.length > LONGEST) {
    throw argumentError(
      `${name}: the token has ${text.length} characters, and must have ${SHORTEST} to ${LONGEST}`,
      MAKE_ONE,
    )
  }
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw argumentError(
      `${name}: the token has characters that a header cannot have`,
      `It is one line of visible ASCII characters. ${MAKE_ONE}`,
    )
  }
  return new Token(text)
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest()
