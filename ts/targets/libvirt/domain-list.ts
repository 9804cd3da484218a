/** The domains that a libvirt runs. */

import { DirtyRateError } from '../../ground/errors.js'
import { defaultConnection, failure } from './connection.js'
import type { Identity } from './domain.js'
import { CALL_MS, virsh } from './virsh.js'

/** Asks a libvirt for its active domains. Rejects as `LibvirtConnection.ask` does. */
export async function activeDomains(
  connect: string | undefined,
  signal: AbortSignal,
): Promise<Pick<Identity, 'name' | 'uuid'>[]> {
  const uri = connect ?? defaultConnection()
  const { status, stdout, stderr } = await virsh(['list', '--uuid', '--name'], {
    connect: uri,
    signal,
  })
  if (status === undefined) {
    throw new DirtyRateError(
      'ERR_TARGET_TIMEOUT',
      `libvirt did not list its domains in ${CALL_MS / 1000} s`,
      { hint: `Look whether it answers: virsh -c ${uri} list.` },
    )
  }
  if (status !== 0) throw failure(stderr, uri, uri)
  return stdout.split('\n').flatMap(line => {
    const [, uuid, name] =
      /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) +(.+?) *$/.exec(line) ?? []
    return uuid === undefined || name === undefined ? [] : [{ uuid, name }]
  })
}
