/** The domain of libvirt that a VM of a plan is. */

import { parseTargetUri } from '../../targets/uri.js'

/** A domain of libvirt, as `virsh` finds it. */
export interface Domain {
  readonly name: string
  /** Where its libvirt is; absent for virsh's own default. */
  readonly connect?: string
  /** Why there is no command for it, if it is no domain that is surely known. */
  readonly withoutCommand?: string
}

/** The domain of a target; undefined if the target is not libvirt's. */
export function domainOfTarget(target: string): Domain | undefined {
  if (!target.startsWith('libvirt:')) return undefined
  const { name, options } = parseTargetUri(target)
  const connect = options.get('connect')
  return { name, ...(connect === undefined ? {} : { connect }) }
}
