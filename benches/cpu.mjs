// The processor that a benchmark ran on, in one line, as `crates/dirtyrate/benches/common` says it:
// a figure means nothing without the processor.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const caches = '/sys/devices/system/cpu/cpu0/cache'

export function processor() {
  const info = read('/proc/cpuinfo')
  const field = name => info.match(new RegExp(`^${name}\\s*: (.+)$`, 'm'))?.[1] ?? '?'
  const model = `${field('cpu family')}/${field('model')}/${field('stepping')}`
  const sizes = [2, 3].map(level => `L${level} ${cache(level) ?? 'unknown'}`).join(', ')
  return `${field('model name')}, ${field('vendor_id')}, family/model/stepping ${model}, ${sizes}`
}

/** The size of the first processor's cache of that level, as the kernel says it: `2048K`. */
function cache(level) {
  for (const index of list(caches)) {
    if (read(join(caches, index, 'level')).trim() === String(level)) {
      return read(join(caches, index, 'size')).trim()
    }
  }
  return undefined
}

/** A file of the kernel's, or nothing where the kernel has none. */
function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function list(path) {
  try {
    return readdirSync(path).filter(name => /^index\d+$/.test(name))
  } catch {
    return []
  }
}
