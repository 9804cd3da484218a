/** `dirtyrate list`, as a program. */

import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { findVms } from '../../ts/host/virtual-machines.js'
import { cli, dirtyrate, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { appeared, ended, started } from '../fixtures/programs.js'
import { dirtyrateOnTerminal } from '../fixtures/terminal.js'

const QEMU = 'qemu-system-x86_64'
/** A name that would erase the screen, end the line, and leave a shell's word. */
const HOSTILE = "evil\u001b[2J\r\nname'; $(reboot)"

/** A QEMU without a guest, whose name is `name`; resolves when its monitor is there. */
async function qemu(name: string): Promise<{ pid: number; socket: string; end(): Promise<void> }> {
  const socket = join(dirname(folder()('x', '')), 'q.sock')
  const machine = ['-machine', 'none', '-nodefaults', '-display', 'none', '-m', '128']
  const monitor = ['-qmp', `unix:${socket},server=on,wait=off`]
  const child = started(QEMU, [...machine, ...monitor, '-name', `guest=${name}`])
  await appeared(socket, child)
  // Its monitor is there before its memory is.
  const noMemory = async (): Promise<true | undefined> =>
    (await findVms()).vms.find(({ pid }) => pid === child.pid)?.noMemory
  await expect.poll(noMemory).toBeUndefined()
  return { pid: child.pid, socket, end: () => ended(child) }
}

describeInstalled(QEMU, 'dirtyrate list', () => {
  it('names each VM, its process, its size, and the targets that reach it', async () => {
    const { pid, socket } = await qemu('web-server')
    const { status, stdout, stderr } = await dirtyrate(['list'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(
      new RegExp(
        `^web-server  QEMU, TCG, 128 MiB, 1 vCPU, process ${pid} of \\S+\n  qmp:${socket} +yes: `,
        'm',
      ),
    )
  })

  it.skipIf(process.getuid?.() !== 0)(
    'promises no pid: with the numbers of another namespace',
    async () => {
      const { pid } = await qemu('elsewhere')
      const inside = ['--pid', '--fork', process.execPath, cli, 'list', '--json']
      const { stdout } = await run('unshare', inside)
      const listed = JSON.parse(stdout).vms.find((vm: { pid: number }) => vm.pid === pid)
      expect(listed.targets).toContainEqual({
        target: `pid:${pid}`,
        reachable: false,
        why: '/proc shows the processes of another namespace',
        mend: 'Start the container with the namespace of the host: --pid host',
      })
    },
  )

  it('shows no control character of a name to the terminal', async () => {
    const { pid } = await qemu(HOSTILE)
    const { stdout } = await dirtyrate(['list'])
    const line = stdout.split('\n').find(one => one.includes(`process ${pid} of`))
    expect(line).toContain("evil\\x1b[2J\\r\\nname'; $(reboot)")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    expect(stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/)
    const { stdout: json } = await dirtyrate(['list', '--json'])
    const listed = JSON.parse(json).vms.find((vm: { pid: number }) => vm.pid === pid)
    expect(listed.name).toBe(HOSTILE)
  })

  it.skipIf(process.getuid?.() !== 0)('tells another user that the socket is closed', async () => {
    const { pid, socket } = await qemu('closed')
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups']
    const { stdout } = await run('setpriv', [...nobody, process.execPath, cli, 'list', '--json'])
    const { vms, closedProcesses } = JSON.parse(stdout)
    const listed = vms.find((vm: { pid: number }) => vm.pid === pid)
    expect(listed.targets[0]).toMatchObject({
      target: `qmp:${socket}`,
      reachable: false,
      mend: 'Run it as root: sudo npx dirtyrate. Or run it as the user of the VM',
    })
    expect(closedProcesses).toBeGreaterThan(0)
  })

  it('--watch --json prints a line at each change, and each line is another list, until a signal', async () => {
    const child = spawn(process.execPath, [cli, 'list', '--watch', '--json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => ended(child))
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    let last = ''
    /** Reads on until the list has, or does not have, a process. Each line is another list. */
    const until = async (pid: number, listed: boolean): Promise<void> => {
      for (;;) {
        const { value: line } = await lines.next()
        expect(line).not.toBe(last)
        last = line
        const { vms } = JSON.parse(line)
        if (vms.some((vm: { pid: number }) => vm.pid === pid) === listed) return
      }
    }
    expect(JSON.parse((await lines.next()).value).schemaVersion).toBe(1)
    const { pid, end } = await qemu('comes-and-goes')
    await until(pid, true)
    // Meanwhile the host is looked at twice.
    await sleep(2500)
    await end()
    await until(pid, false)
    child.kill('SIGTERM')
    const status = await new Promise(resolve => child.once('exit', resolve))
    expect(status).toBe(143)
  })

  it('--watch draws the list over the one before on a terminal', async () => {
    const { pid } = await qemu('on-a-terminal')
    const line = 'list --watch & sleep 2; kill -TERM $!; wait'
    const { stdout } = await dirtyrateOnTerminal(line, { columns: 80 })
    expect(stdout).toContain('on-a-terminal')
    expect(stdout).toContain(`process ${pid} of`)
  })
})

describe.skipIf(process.getuid?.() !== 0)(
  'a user to whom /proc does not show all processes',
  () => {
    const nobody = 'setpriv --reuid=65534 --regid=65534 --clear-groups'
    const listed = async (line: string, ...args: string[]): Promise<string> => {
      const inside = ['-m', 'bash', '-c', `${line} && exec ${nobody} "$@"`, 'bash']
      const { status, stdout } = await run('unshare', [...inside, process.execPath, cli, ...args])
      expect(status).toBe(0)
      return stdout
    }
    const hidden = 'mount -t proc -o hidepid=2 proc /proc'

    it('learns that there may be virtual machines', async () => {
      const text = await listed(hidden, 'list')
      expect(text).toContain('Other users may run virtual machines that are not known here')
      expect(text).not.toContain('No virtual machine was found')
      const { visibleProcesses } = JSON.parse(await listed(hidden, 'list', '--json'))
      expect(visibleProcesses).toBe('own')
    })

    it('learns that nothing is known where /proc is not mounted', async () => {
      const text = await listed('umount -l /proc', 'list')
      expect(text).toContain('is not known, because /proc is not mounted')
      expect(text).not.toContain('No virtual machine was found')
      const inside = ['-m', 'bash', '-c', 'umount -l /proc && exec "$@"', 'bash']
      const all = await run('unshare', [...inside, process.execPath, cli, 'calc', '--all'])
      expect(all.status).toBe(3)
      expect(all.stderr).toContain('is not known, because /proc is not mounted')
      expect(all.stderr).toContain('sudo mount -t proc proc /proc')
      expect(all.stderr).not.toContain('there is no virtual machine')
      const doctor = await run('unshare', [...inside, process.execPath, cli, 'doctor', '--json'])
      const { checks, targets } = JSON.parse(doctor.stdout)
      for (const id of ['capabilities', 'pid-namespace', 'own-processes', 'other-processes'])
        expect(checks).toContainEqual(
          expect.objectContaining({ id, state: 'unknown', mend: 'sudo mount -t proc proc /proc' }),
        )
      for (const { scheme, why } of targets)
        if (['libvirt', 'qmp', 'pid'].includes(scheme)) expect(why).toContain('is not known')
    })
  },
)
