/** The certificate of the server, from files. */

import { createSecureContext } from 'node:tls'
import { argumentError } from '../../ground/errors.js'
import type { Certificate } from '../../server/http.js'
import { readNamedFile } from '../named-file.js'
import type { ServeOptions } from './options.js'

/** No certificate with its chain, and no key, is larger. */
const MOST_BYTES = 2 ** 20

/** Undefined if nothing is encrypted. Rejects with ERR_ARGUMENT, or with the reason of `signal`. */
export async function readCertificate(
  { tlsCert, tlsKey }: Pick<ServeOptions, 'tlsCert' | 'tlsKey'>,
  signal: AbortSignal,
): Promise<Certificate | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined
  if (tlsCert === undefined || tlsKey === undefined) {
    const [missing, given] = tlsCert === undefined ? ['cert', 'key'] : ['key', 'cert']
    throw argumentError(`--tls-${given}: it needs --tls-${missing} beside it`, 'Give both files.')
  }
  const certificate = {
    cert: await read(tlsCert, '--tls-cert', signal),
    key: await read(tlsKey, '--tls-key', signal),
  }
  try {
    createSecureContext(certificate)
  } catch (error) {
    throw argumentError(
      `--tls-cert: the files are not a certificate and its key: ${(error as Error).message}`,
      'Give PEM files: the certificate with its chain, and its key without a passphrase.',
    )
  }
  return certificate
}

async function read(file: string, name: string, signal: AbortSignal): Promise<Buffer> {
  const bytes = await readNamedFile(file, name, MOST_BYTES, signal)
  if (bytes !== undefined) return bytes
  throw argumentError(
    `${name}: '${file}' has more than ${MOST_BYTES} bytes`,
    'Give a file in the form PEM.',
  )
}
