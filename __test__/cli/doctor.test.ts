/** `dirtyrate doctor`, as a program, on this host and where something is missing. */

import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Check } from '../../ts/host/check.js'
import type { Diagnosis } from '../../ts/host/doctor.js'
import { capabilities } from '../../ts/index.js'
import { cli, dirtyrate, run } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'

const isRoot = process.getuid?.() === 0

interface Examined {
  status: number | null
  found: Diagnosis
  check(id: string): Check | undefined
}

async function examine(command: string[], env: NodeJS.ProcessEnv = {}): Promise<Examined> {
  const [program = '', ...args] = command
  const { status, stdout, stderr } = await run(
    program,
    [...args, process.execPath, cli, 'doctor', '--json'],
    { env },
  )
  expect(stderr).toBe('')
  const found: Diagnosis = JSON.parse(stdout)
  return { status, found, check: id => found.checks.find(one => one.id === id) }
}

const here = (env: NodeJS.ProcessEnv = {}): Promise<Examined> => examine(['env'], env)

describeKvm('dirtyrate doctor', () => {
  it('says that VMs can be made, and what this KVM has', async () => {
    const { status, found, check } = await here()
    expect(status).toBe(0)
    expect(found.measurable).toBe(true)
    expect(found.targets.slice(0, 2)).toMatchObject([
      { scheme: 'guest', possible: true },
      { scheme: 'kernel', possible: true },
    ])
    const { manualDirtyLogProtect, dirtyRing, dirtyRingAcqRel, emulated } = capabilities()
    expect(check('kvm-device')).toMatchObject({ state: 'good' })
    expect(check('manual-protect')).toMatchObject({ found: manualDirtyLogProtect })
    expect(check('dirty-ring')?.state).toBe(dirtyRing || dirtyRingAcqRel ? 'good' : 'limited')
    expect(check('emulated-guests') !== undefined).toBe(emulated === true)
  })

  it('has text for people, with a command below what is not good', async () => {
    const { status, stdout, stderr } = await dirtyrate(['doctor'], { env: { PATH: '/nowhere' } })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^guest: +yes: virtual machines can be made here$/m)
    expect(stdout).toMatch(/^virsh +missing: not installed\n +-> .*libvirt-client/m)
  })
})

describe('dirtyrate doctor', () => {
  it('finds no virsh and no QEMU where PATH has none', async () => {
    const nowhere = await examine(['/usr/bin/env'], { PATH: '/nowhere' })
    expect(nowhere.check('virsh')).toMatchObject({
      state: 'missing',
      mend: expect.stringContaining('libvirt-client'),
    })
    expect(nowhere.check('libvirt')).toMatchObject({ state: 'unknown' })
    expect(nowhere.check('qemu')).toMatchObject({ state: 'unknown' })
  })

  it.skipIf(!existsSync('/usr/bin/virsh'))('says that no daemon of libvirt answers', async () => {
    const { check } = await here({ LIBVIRT_DEFAULT_URI: 'qemu+unix:///system?socket=/nowhere' })
    expect(check('libvirt')).toMatchObject({
      state: 'missing',
      found: expect.stringContaining('/nowhere'),
      mend: expect.stringContaining('systemctl start libvirtd'),
    })
  })

  it('says that libvirt can be measured only where its daemon answers', async () => {
    const { found, check } = await here({
      LIBVIRT_DEFAULT_URI: 'qemu+unix:///system?socket=/nowhere',
    })
    expect(check('libvirt')?.state).not.toBe('good')
    expect(found.targets.find(({ scheme }) => scheme === 'libvirt')).toMatchObject({
      possible: false,
      why: expect.stringMatching(/gives this user no answer|is not installed/),
    })
  })

  it.skipIf(!isRoot || !existsSync('/dev/kvm'))(
    'says the same of the device and of its group, without USER',
    async () => {
      const nobody = ['env', '-u', 'USER', 'setpriv', '--reuid=65534', '--regid=65534']
      // In the place of the device a copy that is closed to its group, for this command only.
      const line =
        'cp -a /dev/kvm /tmp/kvm.$$ && chown 0:0 /tmp/kvm.$$ && chmod 600 /tmp/kvm.$$ && mount --bind /tmp/kvm.$$ /dev/kvm && rm /tmp/kvm.$$ && exec "$@"'
      const inside = ['unshare', '-m', 'bash', '-c', line, 'bash', ...nobody, '--clear-groups']
      const { check } = await examine(inside)
      const group = check('kvm-group')
      expect(group).toMatchObject({
        state: 'missing',
        found: expect.stringContaining('root, mode'),
      })
      expect(check('kvm-device')?.mend).toBe(group?.mend)
      expect(group?.mend).toContain('sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm')
      // For people it is there once.
      const [program = '', ...args] = [...inside, process.execPath, cli, 'doctor']
      const { stdout } = await run(program, args, { env: { COLUMNS: '500' } })
      expect(stdout.split('sudo chgrp kvm /dev/kvm')).toHaveLength(2)
    },
  )

  it.skipIf(!isRoot)(
    'shows a user without rights what to do, and ends with 3 if nothing can be measured',
    async () => {
      const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups']
      // In a PID namespace of its own, where no VM of another test runs.
      const alone = ['unshare', '--fork', '--pid', '--mount-proc']
      const { status, found, check } = await examine([...alone, 'setpriv', ...nobody])
      const isOpen = check('kvm-device')?.state === 'good'
      const possible = found.targets.filter(target => target.possible).map(({ scheme }) => scheme)
      expect(possible.includes('guest')).toBe(isOpen)
      expect(found.measurable).toBe(possible.length > 0)
      expect(status).toBe(possible.length > 0 ? 0 : 3)
      expect(check('other-processes')).toMatchObject({
        state: 'missing',
        mend: expect.stringContaining('sudo'),
      })
      expect(check('own-processes')?.state).toBe('good')
      expect(check('capabilities')).toMatchObject({ state: 'limited' })
    },
  )

  it.skipIf(!isRoot)('says that root in a container may lack a capability', async () => {
    const without = ['--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace']
    const { check } = await examine(['setpriv', ...without])
    expect(check('capabilities')).toMatchObject({
      state: 'limited',
      mend: expect.stringContaining('--cap-add SYS_PTRACE'),
    })
  })

  it.skipIf(!isRoot)('notices a /proc of another namespace', async () => {
    const { check } = await examine(['unshare', '--pid', '--fork'])
    expect(check('pid-namespace')).toMatchObject({
      state: 'missing',
      mend: expect.stringContaining('--pid host'),
    })
  })

  it.skipIf(!isRoot)('notices a /proc that hides processes', async () => {
    const nobody = 'setpriv --reuid=65534 --regid=65534 --clear-groups'
    const line = `mount -t proc -o hidepid=2 proc /proc && exec ${nobody} "$@"`
    const { check } = await examine(['unshare', '-m', 'bash', '-c', line, 'bash'])
    expect(check('pid-namespace')).toMatchObject({
      state: 'limited',
      found: expect.stringContaining('hidepid'),
    })
  })

  it.skipIf(!isRoot)('ends with 3 where there is no /dev/kvm', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'dirtyrate-'))
    chmodSync(empty, 0o755)
    onTestFinished(() => rmSync(empty, { recursive: true }))
    // A /dev of its own, which has nothing but what Node needs.
    const line = `mount -t tmpfs none ${empty} && cp -a /dev/null /dev/urandom ${empty}/ && mount --move ${empty} /dev && exec "$@"`
    const { status, found, check } = await examine(['unshare', '-m', 'bash', '-c', line, 'bash'])
    expect(check('kvm-device')).toMatchObject({ state: 'missing' })
    expect(check('kvm-group')).toMatchObject({ state: 'unknown' })
    expect(found.targets.slice(0, 2)).toMatchObject([{ possible: false }, { possible: false }])
    expect(status).toBe(found.measurable ? 0 : 3)
  })
})
