// The machines of the soak that are not the server's own: a QEMU behind a socket, a process that
// runs a VM of this package, and a domain of a libvirtd on folders of its own, where root runs this
// and libvirt is installed.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildGuest, workload } from 'dirtyrate'
import { Qemu } from '../../scripts/qemu/qemu.mjs'

/** The pages that each guest writes: all of them in each window. */
export const PAGES = 2_000
export const PID_NAME = 'process'
const MEMORY_MIB = 64
/** Four times around in each second. */
const RATE = `${(4 * PAGES * 4096) / 2 ** 20}MiB/s`
const guest = workload.stride({ pages: PAGES, rate: RATE, pacing: 'clock' })
const CONF = `user = "root"
group = "root"
cgroup_controllers = [ ]
namespaces = [ ]
security_driver = "none"
dynamic_ownership = 0
stdio_handler = "file"
`

export async function startAll(folder) {
  const kernel = join(folder, 'guest.elf')
  writeFileSync(kernel, buildGuest(guest, { memory: `${MEMORY_MIB}MiB` }))
  const monitor = ['-qmp', `unix:${folder}/qemu.sock,server=on,wait=off`]
  const qemu = await Qemu.start(['-m', String(MEMORY_MIB), '-kernel', kernel, ...monitor])
  // The VM alone does not keep Node alive.
  const ours = `setInterval(() => {}, 1e6);import('dirtyrate').then(m => m.openTarget('guest:stride,pages=${PAGES},rate=${RATE},memory=${MEMORY_MIB}MiB')).then(vm => { globalThis.vm = vm })`
  const other = spawn(process.execPath, ['-e', ours], { stdio: 'ignore', cwd: import.meta.dirname })
  const libvirt = await startLibvirt(folder, kernel)
  await sleep(2000)
  return {
    pid: other.pid,
    libvirt: libvirt?.uri,
    async end() {
      other.kill('SIGKILL')
      await qemu.kill()
      await libvirt?.end()
    },
  }
}

async function startLibvirt(folder, kernel) {
  const daemon = '/usr/sbin/libvirtd'
  if (process.getuid() !== 0 || !existsSync(daemon)) return undefined
  const places = [
    'run/libvirt',
    'var/lib/libvirt',
    'etc/libvirt',
    'var/log/libvirt',
    'var/cache/libvirt',
  ]
  const mounts = places.map(place => {
    const own = join(folder, place)
    mkdirSync(own, { recursive: true })
    mkdirSync(`/${place}`, { recursive: true })
    return `mount --bind ${own} /${place}`
  })
  writeFileSync(join(folder, 'etc/libvirt/qemu.conf'), CONF)
  writeFileSync(
    join(folder, 'etc/libvirt/libvirtd.conf'),
    `auth_unix_ro = "none"\nauth_unix_rw = "none"\nhost_uuid = "${crypto.randomUUID()}"\n`,
  )
  const line = [...mounts, `exec ${daemon} --pid-file ${folder}/libvirtd.pid`].join(' && ')
  const child = spawn('unshare', ['--mount', 'bash', '-c', line], { stdio: 'ignore' })
  const socket = join(folder, 'run/libvirt/libvirt-sock')
  while (!existsSync(socket)) {
    if (child.exitCode !== null) return undefined
    await sleep(50)
  }
  const uri = `qemu+unix:///system?socket=${socket}`
  const virsh = (...args) => spawnSync('virsh', ['--quiet', '--connect', uri, ...args])
  const file = join(folder, 'domain.xml')
  writeFileSync(
    file,
    `<domain type='kvm'><name>soak</name><memory unit='MiB'>${MEMORY_MIB}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>${kernel}</kernel></os>
<features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`,
  )
  const { status, stderr } = virsh('create', file)
  if (status !== 0) throw new Error(String(stderr))
  return {
    uri,
    async end() {
      virsh('destroy', 'soak')
      child.kill('SIGTERM')
      await once(child, 'close')
    },
  }
}
