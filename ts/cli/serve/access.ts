/** Who may ask the server of `serve`. */

import { hostname } from 'node:os'
import { show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type { AccessRules } from '../../server/access.js'
import type { ListenAddress } from '../../server/address.js'
import { readToken, TOKEN_VARIABLE, type Token } from '../../server/token.js'
import type { ServeOptions } from './options.js'

/** An address that other hosts reach is served only with a token. Throws ERR_ARGUMENT. */
export async function parseAccess(
  options: ServeOptions,
  { address, isLoopback }: ListenAddress,
  signal: AbortSignal,
): Promise<AccessRules> {
  const token = await readTokenFile(options, signal)
  if (token === undefined && !isLoopback) {
    throw argumentError(
      `--listen: other hosts reach ${address}, so that the server needs a token`,
      `Give --token-file FILE, or set ${TOKEN_VARIABLE}: openssl rand -hex 32 makes one.`,
    )
  }
  return {
    hostNames: ['localhost', hostname().toLowerCase(), ...parseNames(options.allowHost)],
    token,
  }
}

/** The token, as its file has it now; undefined if there is none. Throws ERR_ARGUMENT. */
export function readTokenFile(
  { tokenFile }: Pick<ServeOptions, 'tokenFile'>,
  signal: AbortSignal,
): Promise<Token | undefined> {
  return readToken(tokenFile, '--token-file', signal)
}

/** The names of a list, as requests are compared with them. */
function parseNames(list: string | undefined): string[] {
  const names = (list ?? '').split(',').map(name => name.trim().toLowerCase().replace(/\.$/, ''))
  const given = names.filter(name => name !== '')
  const wrong = given.find(name => !/^[a-z0-9_.-]+$/.test(name))
  if (wrong === undefined) return given
  throw argumentError(
    `--allow-host: ${show(wrong)} is not the name of a host`,
    'Give names without https:// and without a port: metrics.example,host7.example.',
  )
}
