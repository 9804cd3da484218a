/** Which program is which VMM, and what is read from the command lines of each. */

import { expect, it } from 'vitest'
import {
  isOurBinding,
  type VmmId,
  vmmOfProgram,
} from '../../../ts/targets/process/vmms/programs.js'
import { readCommandLine } from '../../../ts/targets/process/vmms/vmms.js'
import { folder } from '../../fixtures/elf.js'

const MIB = 2 ** 20
const told = (vmm: VmmId, line: string): ReturnType<typeof readCommandLine> =>
  readCommandLine(vmm, line.split(' '), process.pid)

it.each<[VmmId, string, object]>([
  [
    'cloud-hypervisor',
    'ch --memory size=512M,shared=on --cpus boot=4,max=8',
    { memoryBytes: 512 * MIB, vcpus: 4 },
  ],
  ['cloud-hypervisor', 'ch --api-socket /run/ch.sock', {}],
  [
    'crosvm',
    'crosvm run --mem=1024 -c 2 --name x',
    { memoryBytes: 1024 * MIB, vcpus: 2, name: 'x' },
  ],
  ['crosvm', 'crosvm run -m size=256 --cpus num-cores=3', { memoryBytes: 256 * MIB, vcpus: 3 }],
  ['firecracker', 'firecracker --id vm-1 --api-sock /run/fc.sock', { name: 'vm-1' }],
  ['firecracker', 'firecracker --config-file /nowhere/config.json', {}],
  [
    'dirtyrate',
    'node cli.js calc kernel:k,memory=2GiB',
    { name: 'kernel:k,memory=2GiB', memoryBytes: 2048 * MIB },
  ],
  ['dirtyrate', 'node cli.js calc guest:idle', { name: 'guest:idle', memoryBytes: 1024 * MIB }],
  [
    'dirtyrate',
    'node cli.js calc guest:idle,memory=low@0B+2GiB:high@4GiB+2GiB',
    { name: 'guest:idle,memory=low@0B+2GiB:high@4GiB+2GiB' },
  ],
  ['dirtyrate', 'node server.js', {}],
  [
    'dirtyrate',
    'node cli.js calc guest:idle,memory=1.5GiB',
    { name: 'guest:idle,memory=1.5GiB', memoryBytes: 1536 * MIB },
  ],
  ['qemu', 'qemu-kvm -name a -m 512 -smp 2', { name: 'a', memoryBytes: 512 * MIB, vcpus: 2 }],
])('%s of "%s"', (vmm, line, expected) => {
  expect(told(vmm, line)).toEqual(expected)
})

it('Firecracker says its size in the file of its configuration', () => {
  const write = folder()
  const config = { 'machine-config': { vcpu_count: 2, mem_size_mib: 1024 } }
  const file = write('config.json', JSON.stringify(config))
  expect(told('firecracker', `fc --config-file ${file} --id a`)).toEqual({
    name: 'a',
    memoryBytes: 1024 * MIB,
    vcpus: 2,
  })
  const broken = write('broken.json', '{')
  expect(told('firecracker', `fc --config-file=${broken}`)).toEqual({})
})

it.each<[string, VmmId | undefined]>([
  ['qemu-system-x86_64', 'qemu'],
  ['qemu-kvm', 'qemu'],
  ['kvm', 'qemu'],
  ['cloud-hypervisor-static', 'cloud-hypervisor'],
  ['firecracker-v1.7', 'firecracker'],
  ['crosvm', 'crosvm'],
  ['qemu-img', undefined],
  ['kvmtool', undefined],
  ['something', undefined],
])('%s is %s', (program, vmm) => {
  expect(vmmOfProgram(program)).toBe(vmm)
})

it('a program of any name has our binding if it has mapped its file', () => {
  expect(isOurBinding('7f00-7f01 r-xp 0 08:01 7   /opt/dirtyrate.linux-x64-gnu.node')).toBe(true)
  expect(isOurBinding('/opt/dirtyrate.node')).toBe(true)
  expect(isOurBinding('/opt/dirtyrate-other/x.node')).toBe(false)
})
