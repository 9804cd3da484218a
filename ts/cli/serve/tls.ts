/** The certificate of the server, from files. */

import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { argumentError } from '../../ground/errors.js'
import type { Certificate } from '../../server/http.js'
import type { ServeOptions } from './options.js'

/** Undefined if nothing is encrypted. Throws ERR_ARGUMENT. */
export async function readCertificate({
  tlsCert,
  tlsKey,
}: Pick<ServeOptions, 'tlsCert' | 'tlsKey'>): Promise<Certificate | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined
  if (tlsCert === undefined || tlsKey === undefined) {
    const [missing, given] = tlsCert === undefined ? ['cert', 'key'] : ['key', 'cert']
    throw argumentError(`--tls-${given}: it needs --tls-${missing} beside it`, 'Give both files.')
  }
  const certificate = {
    cert: await read(tlsCert, '--tls-cert'),
    key: await read(tlsKey, '--tls-key'),
  }
  try {
    createSecureContext(certificate)
  } catch (error) {
    throw argumentError(
      `--tls-cert: the files are no certificate with its key: ${(error as Error).message}`,
      'Give PEM files: the certificate with its chain, and its key without a passphrase.',
    )
  }
  return certificate
}

async function read(file: string, name: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw argumentError(`${name}: ${(error as Error).message}`, 'Give a file that can be read.')
  }
}
