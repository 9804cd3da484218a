/** Why a server could not be asked, in words, and what to do. */

import { isError } from '../../../ground/errors.js'
import { systemReason } from '../../failure.js'

/** The reasons for which a certificate is refused, by Node's codes. */
const CERTIFICATE =
  /^(CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|HOSTNAME_MISMATCH|INVALID_CA)/

/** What happened: `connection refused (ECONNREFUSED)` without the name of the call. */
export function networkReason(error: unknown): string {
  if (!isError(error)) return String(error)
  // An address with several numbers has an error for each of them.
  const [first] = (error as AggregateError).errors ?? []
  const one = (isError(first) ? first : error) as NodeJS.ErrnoException
  if (one.code === 'ECONNREFUSED') return 'nobody listens there (ECONNREFUSED)'
  if (one.code === 'ENOTFOUND' || one.code === 'EAI_AGAIN')
    return `the name of the host is not known (${one.code})`
  // The words of OpenSSL have the addresses of its source.
  if (one.code === 'EPROTO') return 'it does not speak TLS (EPROTO)'
  return systemReason(one)
}

export function networkHint(error: unknown): string {
  const { code = '' } = Object(error) as { code?: string }
  if (CERTIFICATE.test(code))
    return 'Give the certificate of its authority with --ca-file, and a name that its own certificate has.'
  // A server that has no TLS answers with something else.
  if (code === 'EPROTO') return 'The server has no TLS there: give its http:// address.'
  return 'Check the URL, and that a Prometheus can be reached there from this machine.'
}
