// A Linux of Debian with real programs at work: the kernel and the initrd for a QEMU without KVM.
// The initrd gets this machine's own redis-server, redis-benchmark and stress-ng, so they must be
// installed here.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { Cpio } from '../../scripts/rig/cpio.mjs'
import { filesIn, output, Suite } from '../../scripts/rig/debian.mjs'
import { kernelOf } from '../../scripts/rig/kernel.mjs'
import { rigs } from '../../scripts/rig/rigs.mjs'

/** What the console says when the programs are at work. */
export const AT_WORK = 'programs at work'

const REDIS = `
redis-server --save '' --appendonly no --port 0 --unixsocket /redis --daemonize yes >/dev/null
until redis-cli -s /redis ping >/dev/null 2>&1; do usleep 100000; done
value=__rand_int__$(head -c 1000 /dev/zero | tr '\\0' x)
redis-benchmark -s /redis -q -c 4 -n 40000 -r 40000 SET key:__rand_int__ $value >/dev/null
redis-benchmark -s /redis -q -l -c 4 -n 40000 -r 40000 SET key:__rand_int__ $value >/dev/null &
`
const redis = { programs: ['redis-server', 'redis-cli', 'redis-benchmark'], script: REDIS }

/** Writes to memory in order, with streams of 8 to 1024 bits, at a limited speed. */
const memrate = (bytes, mibPerSecond) => ({
  programs: ['stress-ng'],
  script: `
stress-ng --memrate 1 --memrate-bytes ${bytes} --memrate-rd-mbs 1 --memrate-wr-mbs ${mibPerSecond} \\
  --timeout 0 --temp-path /tmp >/dev/null 2>&1 &
sleep 5
`,
})

/** The programs of a guest, by the guest's name. */
const loads = {
  redis,
  'stress-ng': memrate('96M', 40),
  mix: {
    programs: [...redis.programs, 'stress-ng'],
    script: REDIS + memrate('64M', 15).script,
  },
}

const INIT = script => `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
ifconfig lo up
cd /
${script}
echo '${AT_WORK}'
while true; do sleep 1000; done
`

/** The kernel's file, and the initrd with the programs of this guest. */
export function linuxGuest(name) {
  const { programs, script } = loads[name]
  const cpio = new Cpio()
  for (const folder of ['proc', 'sys', 'tmp', 'dev', 'bin']) cpio.folder(folder)
  cpio.device('dev/console', 5, 1)
  const suite = new Suite('bookworm', 'amd64')
  const [busybox] = filesIn(suite.unpacked('busybox-static'), /bin\/busybox$/)
  cpio.copy('bin/busybox', busybox)
  const libraries = new Set()
  for (const program of programs) {
    const path = pathOf(program)
    cpio.program(`usr/bin/${program}`, readFileSync(realpathSync(path)))
    for (const [library] of output('ldd', [path]).matchAll(/\/\S+\.so\S*/g)) libraries.add(library)
  }
  for (const library of libraries)
    cpio.program(library.slice(1), readFileSync(realpathSync(library)))
  cpio.program('init', INIT(script))
  return { kernel: kernelOf(rigs.svm).image, initrd: cpio.archive() }
}

function pathOf(program) {
  const path = spawnSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).stdout.trim()
  if (!existsSync(path))
    throw new Error(`${program} is missing: apt-get install redis-server redis-tools stress-ng`)
  return path
}
