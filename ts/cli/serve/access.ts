/** Who may ask the server of `serve`. */

import { hostname } from 'node:os'
import { argumentError } from '../../ground/errors.js'
import type { AccessRules } from '../../server/access.js'
import type { ListenAddress } from '../../server/address.js'
import { readToken, TOKEN_VARIABLE } from '../../server/token.js'
import type { ServeOptions } from './options.js'

/** An address that other hosts reach is served only with a token. Throws ERR_ARGUMENT. */
export async function parseAccess(
  { tokenFile, allowHost }: ServeOptions,
  { address, isLoopback }: ListenAddress,
  signal: AbortSignal,
): Promise<AccessRules> {
  const token = await readToken(tokenFile, '--token-file', signal)
  if (token === undefined && !isLoopback) {
    throw argumentError(
      `--listen: other hosts reach ${address}, so that the server needs a token`,
      `Give --token-file FILE, or set ${TOKEN_VARIABLE}: openssl rand -hex 32 makes one.`,
    )
  }
  const names = (allowHost ?? '').split(',').map(name => name.trim().toLowerCase())
  return {
    hostNames: ['localhost', hostname().toLowerCase(), ...names.filter(name => name !== '')],
    token,
  }
}
