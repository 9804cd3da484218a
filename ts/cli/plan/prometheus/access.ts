/** Where a Prometheus is, and how it is asked: its URL, credentials from a file, an authority. */

import { open } from 'node:fs/promises'
import { argumentError, isError } from '../../../ground/errors.js'
import { systemReason } from '../../failure.js'

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

const EXAMPLE = 'Give it as http://prometheus:9090, or with a prefix: https://host/prometheus.'
/** No token and no password is longer; a bundle of authorities has some 250 kB. */
const LONGEST_SECRET = 8192
const LONGEST_CA = 2 ** 22

/** Checks the URL, and reads the files. Throws ERR_ARGUMENT, whose message has no secret. */
export async function readAccess(options: AccessOptions): Promise<Access> {
  const url = parseUrl(options.prometheus)
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
  return { url, authorization: await authorizationOf(options), ca: await caOf(caFile) }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw argumentError(
      `--prometheus: '${withoutPassword(text)}' is not the URL of a server`,
      EXAMPLE,
    )
  if (url.username !== '' || url.password !== '') {
    throw argumentError(
      '--prometheus: the URL has a password, which every user of this machine can see',
      'Leave it out, and give --basic-auth-file FILE, with NAME:PASSWORD in it.',
    )
  }
  if (url.search !== '' || url.hash !== '')
    throw argumentError(`--prometheus: '${text}' has more than a path`, EXAMPLE)
  return url
}

const withoutPassword = (text: string): string => text.replace(/\/\/[^/@]*@/, '//***@')

async function authorizationOf(options: AccessOptions): Promise<string | undefined> {
  const { tokenFile, basicAuthFile } = options
  if (tokenFile !== undefined) {
    const token = await readLine(tokenFile, '--token-file')
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw argumentError(
        '--token-file: the token has characters that a header cannot have',
        'It is one line of visible ASCII characters.',
      )
    }
    return `Bearer ${token}`
  }
  if (basicAuthFile === undefined) return undefined
  const pair = await readLine(basicAuthFile, '--basic-auth-file')
  if (!/^[^:\p{Cc}]+:\P{Cc}*$/u.test(pair)) {
    throw argumentError(
      '--basic-auth-file: it is not NAME:PASSWORD',
      'Write both into the first line of the file, with a colon between them.',
    )
  }
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

async function readLine(file: string, name: string): Promise<string> {
  const text = await readText(file, name, LONGEST_SECRET)
  return text.replace(/\r?\n$/, '')
}

async function caOf(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  const text = await readText(file, '--ca-file', LONGEST_CA)
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  throw argumentError(
    `--ca-file: '${file}' has no certificate`,
    'Give a file in the form PEM, which has BEGIN CERTIFICATE in it.',
  )
}

async function readText(file: string, name: string, most: number): Promise<string> {
  try {
    const handle = await open(file, 'r')
    try {
      const buffer = Buffer.alloc(most + 1)
      let bytes = 0
      for (;;) {
        const { bytesRead } = await handle.read(buffer, bytes, buffer.length - bytes)
        bytes += bytesRead
        if (bytesRead === 0 || bytes > most) break
      }
      if (bytes <= most) return buffer.toString('utf8', 0, bytes)
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (!(isError(error) && 'errno' in error)) throw error
    throw argumentError(
      `${name}: '${file}' cannot be read: ${systemReason(error as NodeJS.ErrnoException)}`,
      'Give the path of a file that this user can read.',
    )
  }
  throw argumentError(`${name}: '${file}' has more than ${most} bytes`, 'Give another file.')
}
