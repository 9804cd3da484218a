// The server that is soaked, in a process of its own, and what it holds by the kernel's count.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { importTypeScript } from '../../scripts/build/import-typescript.mjs'
import { root } from '../../scripts/root.mjs'

const { samplesOf } = await importTypeScript('__test__/fixtures/exposition.ts')
const PAGE = 4096
const TICKS = 100
/** The threads of the guests that the server runs itself. */
const OF_GUESTS = /^(vcpu|pacer|kvm-)/

export async function startServer(config) {
  const args = ['serve', '--config', config, '--listen', '127.0.0.1:0']
  const child = spawn(process.execPath, [join(root, 'dist/cli.js'), ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    said += text
    process.stderr.write(text)
  })
  const url = await new Promise((resolve, reject) => {
    child.stderr.on('data', () => {
      const [found] = /http:[^\s,]+\/metrics/.exec(said) ?? []
      if (found !== undefined) resolve(found)
    })
    child.once('close', () => reject(new Error(said)))
  })
  return {
    scrape: async () => samplesOf(await (await fetch(url)).text()),
    held: () => heldBy(child.pid),
    async end() {
      if (child.exitCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'close')
    },
  }
}

function heldBy(pid) {
  const read = file => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8')
    } catch {
      return ''
    }
  }
  const stat = read('stat')
    .replace(/^.*\) /s, '')
    .split(' ')
  // Own time, and that of children that have ended: the fields 14 to 17 of proc_pid_stat(5).
  const ticks = stat.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  const threads = readdirSync(`/proc/${pid}/task`)
  const ofGuests = threads.filter(id => OF_GUESTS.test(read(`task/${id}/comm`)))
  const guestNs = ofGuests.reduce(
    (sum, id) => sum + Number(read(`task/${id}/schedstat`).split(' ')[0]),
    0,
  )
  return {
    rss: Number(stat[21]) * PAGE,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: threads.length,
    cpuSeconds: ticks / TICKS - guestNs / 1e9,
  }
}
