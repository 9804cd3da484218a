// Boots a rig once: makes the initrd with the tests, runs QEMU, and reads the serial port.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Cpio } from './cpio.mjs'
import { filesIn, Suite } from './debian.mjs'
import { kernelOf } from './kernel.mjs'

/** The C library of this suite is not older than the one for which the tests were built. */
const USER_SPACE = {
  suite: 'trixie',
  libraries: [
    ...['libc6', 'libgcc-s1', 'libstdc++6', 'libtinfo6'],
    // The core loads it to measure how well pages compress.
    'libzstd1',
  ],
  /** What tests call that busybox has not, or less of, with the package it is in. */
  programs: { bash: 'bash', script: 'bsdutils', stty: 'coreutils' },
}

/**
 * How long a rig may take to come up, and to end: on a machine that is busy with something else.
 */
const BOOT_SECONDS = 180

/** How much later than its own time limit a job is given up, because the rig itself hangs then. */
const GRACE_SECONDS = 30

/** Lines of the rig's own, apart from those of the tests. */
const MARK = '@@rig'

/** What Linux's last words begin with. */
const PANIC = /Kernel panic - not syncing/

const INIT = `#!/bin/busybox sh
export PATH=/rig/bin:/bin HOME=/tmp SHELL=/rig/bin/bash
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm /tmp
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tmpfs none /tmp
ln -s /proc/self/fd /dev/fd
ifconfig lo 127.0.0.1 up
stty -F /dev/console -onlcr 2>/dev/null
job() { # number, seconds, folder, command…
  local number=$1 seconds=$2 folder=$3
  shift 3
  echo "${MARK} begin $number"
  (cd "$folder" && exec timeout -s KILL "$seconds" "$@") 2>&1 </dev/null
  printf '\\n${MARK} end %s %s\\n' "$number" "$?"
}
. /rig/jobs
poweroff -f
`

/** A word of the shell's. */
const quoted = word => `'${String(word).replaceAll("'", "'\\''")}'`

function userSpace(cpio, { architecture }) {
  const suite = new Suite(USER_SPACE.suite, architecture)
  const [busybox] = filesIn(suite.unpacked('busybox-static'), /bin\/busybox$/)
  cpio.copy('bin/busybox', busybox)
  for (const name of ['lib', 'lib64']) cpio.link(name, `usr/${name}`)
  for (const name of USER_SPACE.libraries) {
    const folder = suite.unpacked(name)
    for (const path of filesIn(folder, /^usr\/lib(64)?\/.*\.so\.\d+(\.\d+)*$/)) {
      if (!/\/gconv\/|\/audit\//.test(path)) cpio.copy(path.slice(folder.length + 1), path)
    }
  }
  for (const [program, name] of Object.entries(USER_SPACE.programs)) {
    const [path] = filesIn(suite.unpacked(name), new RegExp(`bin/${program}$`))
    cpio.copy(`rig/bin/${program}`, path)
  }
  cpio.file('etc/passwd', 'root:x:0:0:root:/tmp:/bin/sh\n')
  cpio.file('etc/hosts', '127.0.0.1 localhost\n')
  return busybox
}

/**
 * Boots a rig and runs `jobs` in it, one after the other. Each job has a `name`, the `seconds` that
 * it may take, a `folder` and a `command`. `fill` puts what the jobs need into the initrd, below
 * /rig; it gets this kernel and this busybox too. `onLine` gets each line that a job prints, with
 * the job. Resolves with `ended`, the status of each job, or undefined if the rig ended before it;
 * and with `failed`, if the rig's own kernel panicked or hung.
 */
export async function boot(rig, { jobs, fill, onLine }) {
  const kernel = kernelOf(rig)
  const cpio = new Cpio()
  for (const name of ['proc', 'sys', 'dev', 'tmp']) cpio.folder(name)
  const busybox = userSpace(cpio, rig)
  cpio.program('init', INIT)
  const lines = kernel.modules.map(
    ({ name, parameters }) => `insmod /rig/modules/${name}.ko ${parameters}`,
  )
  for (const { name, bytes } of kernel.modules) cpio.file(`rig/modules/${name}.ko`, bytes)
  jobs.forEach(({ seconds, folder, command }, number) => {
    lines.push(`job ${[number, seconds, folder, ...command].map(quoted).join(' ')}`)
  })
  cpio.file('rig/jobs', `${lines.join('\n')}\n`)
  fill(cpio, { image: kernel.image, busybox })

  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-rig-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  try {
    const initrd = join(folder, 'initrd')
    writeFileSync(initrd, cpio.archive())
    const seconds = jobs.reduce((sum, job) => sum + job.seconds, BOOT_SECONDS)
    return await run(rig, { image: kernel.image, initrd, seconds, jobs, onLine })
  } finally {
    process.off('exit', remove)
    remove()
  }
}

async function run(
  { qemu, threads, cpus, machine, memoryMiB, cmdline },
  { image, initrd, seconds, jobs, onLine },
) {
  const args = [
    ...[
      '-accel',
      `tcg,thread=${threads}`,
      ...machine,
      '-smp',
      String(cpus),
      '-m',
      String(memoryMiB),
      '-nodefaults',
    ],
    ...['-kernel', image, '-initrd', initrd, '-append', cmdline],
    ...['-display', 'none', '-serial', 'stdio', '-no-reboot'],
  ]
  // The kernel ends QEMU when this process ends, however it ends.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', qemu, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const end = () => child.kill('SIGKILL')
  const timer = setTimeout(end, seconds * 1000)
  const ended = jobs.map(() => undefined)
  const strays = []
  let current
  let failed
  let patience
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    complaint += text
  })
  createInterface({ input: child.stdout }).on('line', raw => {
    const line = raw.replace(/\r+$/, '')
    if (PANIC.test(line)) failed = 'panicked'
    const mark = line.startsWith(MARK) ? line.slice(MARK.length).trim().split(' ') : undefined
    if (mark !== undefined) clearTimeout(patience)
    if (mark?.[0] === 'begin') {
      current = Number(mark[1])
      const giveUp = () => {
        failed = 'stands'
        end()
      }
      patience = setTimeout(giveUp, (jobs[current].seconds + GRACE_SECONDS) * 1000)
    } else if (mark?.[0] === 'end') {
      ended[Number(mark[1])] = Number(mark[2])
      current = undefined
    } else if (current !== undefined) onLine(line, jobs[current])
    else if (line !== '') strays.push(line)
  })
  try {
    await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', resolve)
    })
  } finally {
    clearTimeout(timer)
    clearTimeout(patience)
    end()
  }
  if (
    ended.every(status => status === undefined) &&
    current === undefined &&
    failed === undefined
  ) {
    throw new Error(
      `it did not come up in ${seconds} s. ${complaint}\n${strays.slice(-30).join('\n')}`,
    )
  }
  return { ended, failed }
}
