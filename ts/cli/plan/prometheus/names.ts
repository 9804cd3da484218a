/** How a plan calls the VMs of a host, whose targets are labels. */

import { type Domain, domainOfTarget } from '../domain.js'
import { failure } from './client.js'

const NOT_LIBVIRT = 'its target is not a domain of libvirt.'
const NOT_WHOLE = 'the label of its target is not the whole name.'
/** What `serve` writes in place of what a label cannot have: ts/metrics/labels.ts. */
const CHANGED = /\ufffd|\.\.\.$|#\d+$/

/**
 * The domains of targets, by the names that the plan has for them. A domain whose name another one
 * has too, in another libvirt, is called like its target. Throws ERR_PROMETHEUS if two targets are
 * one VM.
 */
export function namesOf(targets: readonly string[]): Map<string, { name: string; domain: Domain }> {
  const domains = targets.map(target => ({ target, domain: domainOf(target) }))
  const found = new Map<string, { name: string; domain: Domain }>()
  for (const { target, domain } of domains) {
    const others = domains.filter(one => one.target !== target && one.domain.name === domain.name)
    const same = others.find(
      ({ domain: other }) => isKnown(other) && isKnown(domain) && other.connect === domain.connect,
    )
    if (same !== undefined) {
      throw failure(
        `'${same.target}' and '${target}' are the same VM`,
        'Leave one of them out with --match, such as target!="libvirt:web".',
      )
    }
    found.set(target, { name: others.length > 0 ? target : domain.name, domain })
  }
  return found
}

const isKnown = ({ withoutCommand }: Domain): boolean => withoutCommand === undefined

function domainOf(target: string): Domain {
  try {
    const domain = domainOfTarget(target)
    if (domain === undefined) return { name: target, withoutCommand: NOT_LIBVIRT }
    return CHANGED.test(target) ? { name: target, withoutCommand: NOT_WHOLE } : domain
  } catch {
    return { name: target, withoutCommand: NOT_LIBVIRT }
  }
}
