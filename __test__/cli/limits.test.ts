/** What the command says about limits of this process, and the exit statuses of its errors. */

import { expect, it } from 'vitest'
import { exitStatus } from '../../ts/cli/exit.js'
import { run } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'

describeKvm('memory that a limit of this process refuses', () => {
  it.each(['-v', '-d'])('names ulimit %s and its value', async limit => {
    // 200 GB are more than any Node takes.
    const line = `ulimit ${limit} 200000000; exec "$0" dist/cli.js calc guest:idle,memory=1TiB`
    const { status, stderr } = await run('bash', ['-c', line, process.execPath])
    expect(status).toBe(3)
    expect(stderr).toMatch(/^dirtyrate: cannot reserve \d+ bytes for RAM block/)
    expect(stderr.split('\n')[1]).toBe(
      `Ask for less memory, or raise the limit of this process: ulimit ${limit} is 200000000 KiB.`,
    )
  })

  it('names both where both are set', async () => {
    const line =
      'ulimit -v 200000000; ulimit -d 200000000; exec "$0" dist/cli.js calc guest:idle,memory=1TiB --json'
    const { status, stdout } = await run('bash', ['-c', line, process.execPath])
    expect(status).toBe(3)
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'ERR_MEMORY',
      hint: expect.stringContaining('ulimit -v is 200000000 KiB, ulimit -d is 200000000 KiB'),
    })
  })
})

it('a program that cannot be started for too many open files is a limit, which is named', async () => {
  const line = 'ulimit -n 20; exec "$0" dist/cli.js calc libvirt:web --json'
  const { status, stdout } = await run('bash', ['-c', line, process.execPath])
  expect(status).toBe(3)
  expect(JSON.parse(stdout).error).toMatchObject({
    code: 'ERR_LIMIT',
    message: 'virsh cannot be started: this process may open no more files (EMFILE)',
    hint: expect.stringContaining('ulimit -n'),
  })
})

it.each([
  ['ERR_ARGUMENT', 2],
  ['ERR_KERNEL_IMAGE', 2],
  ['ERR_MODE_UNAVAILABLE', 2],
  ['ERR_QAPI', 2],
  ['ERR_KVM_ABSENT', 3],
  ['ERR_KVM_PERMISSION', 3],
  ['ERR_KVM_VERSION', 3],
  ['ERR_KVM_BUSY', 3],
  ['ERR_LIMIT', 3],
  ['ERR_NATIVE_LOAD', 3],
  ['ERR_MEMORY', 3],
  ['ERR_UNSUPPORTED', 3],
  ['ERR_PROGRAM_ABSENT', 3],
  ['ERR_KVM_IOCTL', 1],
  ['ERR_GUEST_CRASHED', 1],
  ['ERR_INTERNAL', 1],
])('%s ends with %d', (code, status) => {
  expect(exitStatus(code)).toBe(status)
})
