/** What this process takes, as samples, by the names that all clients of Prometheus use. */

import { readdirSync } from 'node:fs'
import process from 'node:process'
import type { Sample } from './families.js'

const US_PER_SECOND = 1e6
const MS_PER_SECOND = 1000

/** Taken once, because the wall clock may be set later. */
const STARTED_AT = Date.now() / MS_PER_SECOND - process.uptime()

export function processSamples(): Sample[] {
  const { user, system } = process.cpuUsage()
  return [
    sample('process_cpu_seconds_total', (user + system) / US_PER_SECOND),
    sample('process_resident_memory_bytes', process.memoryUsage.rss()),
    // The folder itself is open while it is read.
    sample('process_open_fds', readdirSync('/proc/self/fd').length - 1),
    sample('process_start_time_seconds', STARTED_AT),
  ]
}

const sample = (name: Sample['name'], value: number): Sample => ({ name, labels: {}, value })
