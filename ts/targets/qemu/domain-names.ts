/** Names of domains that virsh would take for something else than a name. */

/** How virsh reads a number: it is the id of a running domain, whatever the domains are called. */
const NUMBER = /^\s*[+-]?\d+$/
/** A UUID has 32 digits; virsh tries each text of its length as a UUID before it is a name. */
const UUID = /^[\da-f-]{36}$/i

/**
 * Whether virsh may find another domain by this name, because it looks for an id first, then for a
 * UUID, and for a name last.
 */
export const isTakenForAnother = (name: string): boolean => NUMBER.test(name) || UUID.test(name)
