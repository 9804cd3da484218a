/** What is said of a domain of libvirt, by what is known of its daemon, and of a refused user. */

import { describe, expect, it, onTestFinished } from 'vitest'
import { routesTo } from '../../ts/host/reach.js'
import type { VmProcess } from '../../ts/host/virtual-machines.js'
import { whenRefused } from '../../ts/targets/libvirt/advice.js'
import { thisReader } from '../../ts/targets/process/rights.js'
import { folder } from '../fixtures/elf.js'

const domain = (session: boolean, uid = 0): VmProcess => ({
  ...{ pid: process.pid, vmm: 'qemu', program: 'qemu-system-x86_64', uid, monitors: [] },
  ...{ name: 'web', libvirt: { name: 'web', session } },
})

describe('a domain of libvirt', () => {
  it('cannot be reached if its daemon gives no answer', () => {
    const means = { reader: thisReader(), virsh: true, daemonAnswers: false }
    const [route] = routesTo(domain(false), means)
    expect(route).toMatchObject({ target: expect.stringMatching(/^libvirt:web/), reachable: false })
    expect(route?.why).toContain('no answer')
  })

  it('is reached by the daemon that the environment names', () => {
    const socket = folder()('libvirt-sock', '')
    const before = process.env.LIBVIRT_DEFAULT_URI
    process.env.LIBVIRT_DEFAULT_URI = `qemu+unix:///system?socket=${socket}`
    onTestFinished(() => {
      if (before === undefined) delete process.env.LIBVIRT_DEFAULT_URI
      else process.env.LIBVIRT_DEFAULT_URI = before
    })
    const means = { reader: thisReader(), virsh: true }
    expect(routesTo(domain(false), means)[0]).toMatchObject({
      target: 'libvirt:web',
      reachable: true,
    })
  })

  it('of the session of another user is reached by a command for this user', () => {
    const means = { reader: { ...thisReader(), uid: 0 }, virsh: true }
    expect(routesTo(domain(true, 65_534), means)[0]).toMatchObject({
      reachable: false,
      mend: "Run it as that user: sudo -u '#65534' env XDG_RUNTIME_DIR=/run/user/65534 npx dirtyrate list",
    })
  })
})

describe('a user whom libvirt refuses', () => {
  const group = { name: 'libvirt', gid: 4_000_001, members: ['alice'] }

  it('joins the group', () => {
    expect(whenRefused(group, 'bob')).toContain('sudo usermod -aG libvirt bob')
  })

  it('is not told to join a group that has this user already', () => {
    expect(whenRefused(group, 'alice')).toContain('log in again')
    const own = { ...group, gid: process.getegid?.() ?? -1 }
    for (const text of [whenRefused(group, 'alice'), whenRefused(own, 'bob')])
      expect(text).not.toContain('usermod')
    expect(whenRefused(own, 'bob')).toContain('sudo npx dirtyrate')
  })
})
