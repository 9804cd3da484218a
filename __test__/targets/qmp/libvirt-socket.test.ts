/** The monitor of a domain of a real libvirt, which nobody but libvirt may connect to. */

import { readdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openTarget, workload } from '../../../ts/index.js'
import { cli, run } from '../../fixtures/command.js'
import { describeLibvirt, type Libvirt, startLibvirt } from '../../fixtures/libvirt.js'

/** Names that libvirt writes in other ways into its files: escaped, and cut off. */
const NAMES = ["web,1 &'$(x)", 'a-name-of-more-than-twenty-characters']

let libvirt: Libvirt

describeLibvirt("the monitor of libvirt's", () => {
  beforeAll(async () => {
    libvirt = await startLibvirt()
    for (const name of NAMES) await libvirt.start(name, workload.idle(), true)
  }, 120_000)
  afterAll(() => libvirt.end())

  it.each(NAMES)('is never opened, and the domain %j is named in its place', async name => {
    const within = ['-t', String(libvirt.pid), '-m']
    const sockets = 'ls /var/lib/libvirt/qemu/domain-*/monitor.sock'
    const { stdout } = await run('nsenter', [...within, 'sh', '-c', sockets])
    const paths = stdout.trim().split('\n')
    expect(paths).toHaveLength(NAMES.length)
    const id = (await libvirt.virsh('domid', '--', name)).trim()
    const path = paths.find(found => found.includes(`/domain-${id}-`)) ?? ''
    const uri = `qmp:${path.replaceAll(',', ',,')}`
    const asked = await run('nsenter', [...within, process.execPath, cli, 'calc', uri, '--json'])
    expect(asked.status).toBe(2)
    expect(JSON.parse(asked.stdout).error).toMatchObject({
      code: 'ERR_LIBVIRT_SOCKET',
      message: `this socket is libvirt's own, of the domain '${name}'`,
      hint: expect.stringContaining(`Use libvirt:${name.replaceAll(',', ',,')}. `),
    })
    // A client that waits in the queue would have made libvirt's own commands wait.
    expect(await libvirt.virsh('domstate', '--', name)).toContain('running')
  })

  it('is never opened by another path either, as from outside of a container', async () => {
    const folders = await readdir(join(libvirt.lib, 'qemu'))
    const folder = folders.find(name => name.startsWith('domain-')) ?? ''
    const socket = join(libvirt.lib, 'qemu', folder, 'monitor.sock')
    const link = join(libvirt.lib, 'another.sock')
    await symlink(socket, link)
    for (const path of [socket, link]) {
      await expect(openTarget(`qmp:${path.replaceAll(',', ',,')}`)).rejects.toMatchObject({
        code: 'ERR_LIBVIRT_SOCKET',
      })
    }
  })
})
