/** The scheme of VMs that QEMU runs and whose QMP monitor is given. */

import { DirtyRateError } from '../../ground/errors.js'
import type { Address } from '../../ground/listener.js'
import { isSocketFile } from '../../ground/socket-file.js'
import { libvirtDomainListeningAt, libvirtDomainOf } from '../qemu/libvirt-files.js'
import { parseForce, QEMU_OPTIONS } from '../qemu/options.js'
import { emulatedHere } from '../qemu/safety.js'
import type { Scheme } from '../scheme.js'
import { escapeOption } from '../uri.js'
import { isLocal, parseAddress } from './address.js'
import { readFacts } from './facts.js'
import { Monitor } from './monitor.js'
import { QmpTarget } from './qmp-target.js'

/** A VM behind a QMP monitor. */
export const qmpScheme: Scheme<QmpTarget> = {
  name: 'qmp',
  operand: 'SOCKET',
  about: 'a virtual machine that QEMU runs, through its QMP monitor: a socket, or HOST:PORT',
  options: {},
  common: QEMU_OPTIONS,
  adopt: text => (isSocketFile(text.split(',', 1)[0] ?? '') ? `qmp:${text}` : undefined),
  async open({ name }, { force }, { signal }) {
    const address = parseAddress(name)
    const forced = parseForce(force)
    refuseLibvirts(address)
    // A caller who opens a target wants to know at once whether it can be reached.
    const monitor = new Monitor(address)
    await monitor.use(readFacts, signal)
    return new QmpTarget({
      monitor,
      force: forced,
      emulated: isLocal(address) ? emulatedHere() : undefined,
    })
  },
}

/** Throws ERR_LIBVIRT_SOCKET for the socket that libvirt has for itself. */
function refuseLibvirts(address: Address): void {
  if (!('path' in address)) return
  const domain = libvirtDomainOf(address.path) ?? libvirtDomainListeningAt(address.path)
  if (domain === undefined) return
  throw new DirtyRateError(
    'ERR_LIBVIRT_SOCKET',
    `this socket is libvirt's own, of the domain '${domain}'`,
    {
      hint: `Use libvirt:${escapeOption(domain)}. A second client of this socket can block each command of libvirt on the domain.`,
      details: { domain },
    },
  )
}
