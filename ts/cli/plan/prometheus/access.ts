/** Where a Prometheus is, and how it is asked: its URL, credentials from a file, an authority. */

import { argumentError } from '../../../ground/errors.js'
import { readNamedFile } from '../../named-file.js'
import { parseServerUrl } from '../../server-url.js'

/** How a Prometheus is asked. */
export interface Access {
  readonly url: URL
  /** The header `Authorization`. */
  readonly authorization: string | undefined
  /** The certificates of the authorities that its own may be from, in place of Node's. */
  readonly ca: string | undefined
}

export interface AccessOptions {
  readonly prometheus: string
  readonly tokenFile?: string
  readonly basicAuthFile?: string
  readonly caFile?: string
}

const URL_HINTS = {
  example: 'Give it as http://prometheus:9090, or with a prefix: https://host/prometheus.',
  secrets: 'Leave it out, and give --basic-auth-file FILE, with NAME:PASSWORD in it.',
}
/** No token and no password is longer; a bundle of authorities has some 250 kB. */
const LONGEST_SECRET = 8192
const LONGEST_CA = 2 ** 22

/** Checks the URL, and reads the files. Throws ERR_ARGUMENT, whose message has no secret. */
export async function readAccess(options: AccessOptions, signal: AbortSignal): Promise<Access> {
  const url = parseServerUrl(options.prometheus, '--prometheus', URL_HINTS)
  const { tokenFile, basicAuthFile, caFile } = options
  if (tokenFile !== undefined && basicAuthFile !== undefined) {
    throw argumentError(
      '--basic-auth-file: --token-file is given too',
      'Give the one that the server takes.',
    )
  }
  if (caFile !== undefined && url.protocol !== 'https:') {
    throw argumentError('--ca-file: it is for https:// only', 'Leave it out, or give https://.')
  }
  const authorization = await authorizationOf(options, signal)
  return { url, authorization, ca: await caOf(caFile, signal) }
}

async function authorizationOf(
  options: AccessOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { tokenFile, basicAuthFile } = options
  if (tokenFile !== undefined) {
    const token = await readLine(tokenFile, '--token-file', signal)
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw argumentError(
        '--token-file: the token has characters that a header cannot have',
        'It is one line of visible ASCII characters.',
      )
    }
    return `Bearer ${token}`
  }
  if (basicAuthFile === undefined) return undefined
  const pair = await readLine(basicAuthFile, '--basic-auth-file', signal)
  if (!/^[^:\p{Cc}]+:\P{Cc}*$/u.test(pair)) {
    throw argumentError(
      '--basic-auth-file: it is not NAME:PASSWORD',
      'Write both into the first line of the file, with a colon between them.',
    )
  }
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

async function readLine(file: string, name: string, signal: AbortSignal): Promise<string> {
  const text = await readText(file, name, LONGEST_SECRET, signal)
  return text.replace(/\r?\n$/, '')
}

async function caOf(file: string | undefined, signal: AbortSignal): Promise<string | undefined> {
  if (file === undefined) return undefined
  const text = await readText(file, '--ca-file', LONGEST_CA, signal)
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  throw argumentError(
    `--ca-file: '${file}' has no certificate`,
    'Give a file in the form PEM, which has BEGIN CERTIFICATE in it.',
  )
}

async function readText(
  file: string,
  name: string,
  most: number,
  signal: AbortSignal,
): Promise<string> {
  const bytes = await readNamedFile(file, name, most, signal)
  if (bytes !== undefined) return bytes.toString('utf8')
  throw argumentError(`${name}: '${file}' has more than ${most} bytes`, 'Give another file.')
}
