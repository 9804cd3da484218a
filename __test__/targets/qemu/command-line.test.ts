/** What is read from command lines of QEMU, in all spellings that QEMU takes. */

import { describe, expect, it } from 'vitest'
import { parseQemuCommandLine } from '../../../ts/targets/qemu/command-line.js'
import { parseValues } from '../../../ts/targets/qemu/option-syntax.js'

const MIB = 2 ** 20
const parse = (line: string): ReturnType<typeof parseQemuCommandLine> =>
  parseQemuCommandLine(line.split(' '))

describe('the monitors', () => {
  const SOCKET = [{ path: '/run/q.sock' }]
  it.each([
    ['-qmp unix:/run/q.sock,server=on,wait=off', SOCKET],
    ['--qmp unix:/run/q.sock,server,nowait', SOCKET],
    ['-qmp-pretty unix:/run/q.sock,server=on', SOCKET],
    ['-chardev socket,id=m,path=/run/q.sock,server=on -mon chardev=m,mode=control', SOCKET],
    ['-mon m,mode=control -chardev socket,path=/run/q.sock,id=m,server', SOCKET],
    ['-chardev backend=socket,id=m,path=/run/q.sock,server=on -qmp chardev:m', SOCKET],
    [
      '-chardev {"backend":"socket","id":"m","path":"/run/q.sock","server":true} -mon m,mode=control',
      SOCKET,
    ],
    ['-qmp unix:relative,server=on', [{ path: 'relative' }]],
    ['-qmp unix:/run/a,,b.sock,server=on', [{ path: '/run/a,b.sock' }]],
    ['-qmp tcp:127.0.0.1:4444,server=on', [{ host: '127.0.0.1', port: 4444 }]],
    ['-qmp tcp::4444,server', [{ host: '127.0.0.1', port: 4444 }]],
    ['-qmp telnet:0.0.0.0:4444,server', [{ host: '127.0.0.1', port: 4444 }]],
    ['-qmp tcp:[::1]:4444,server', [{ host: '::1', port: 4444 }]],
    [
      '-chardev socket,id=m,host=localhost,port=4444,server=on -mon m,mode=control',
      [{ host: 'localhost', port: 4444 }],
    ],
    ['-chardev socket,id=m,fd=7,server=on -mon m,mode=control', [{ fd: 7 }]],
  ])('of %s', (line, monitors) => {
    expect(parse(line).monitors).toEqual(monitors)
  })

  it.each([
    ['a client, which connects by itself', '-qmp unix:/run/q.sock'],
    ['a client by name', '-qmp unix:/run/q.sock,server=off'],
    ['a monitor for people', '-monitor unix:/run/q.sock,server=on'],
    ['a monitor without a mode', '-chardev socket,id=m,path=/run/q.sock,server -mon m'],
    ['standard input', '-qmp stdio'],
    ['another device', '-chardev file,id=m,path=/run/q.log -mon m,mode=control'],
    ['a device that is not there', '-mon nothing,mode=control'],
    ['an option without a value', '-qmp'],
    ['broken JSON', '-chardev {"id": -mon m,mode=control'],
  ])('are none for %s', (_, line) => {
    expect(parse(line).monitors).toEqual([])
  })
})

it.each([
  ['', 128 * MIB],
  ['-m 512', 512 * MIB],
  ['-m 1T', 2 ** 40],
  ['-m 0x200', 512 * MIB],
  ['-m 1024 -m 512', 512 * MIB],
  ['-m 2G', 2048 * MIB],
  ['-m 1.5g', 1536 * MIB],
  ['-m size=1048576k,slots=2,maxmem=4G', 1024 * MIB],
  ['-m 512 -m slots=2,maxmem=4G', 512 * MIB],
  ['-m nonsense', 128 * MIB],
])('the memory of "%s" is %d bytes', (line, bytes) => {
  expect(parse(line).memoryBytes).toBe(bytes)
})

it('only the objects that are memory have sizes', () => {
  const memory = '-object memory-backend-ram,id=d,,1,size=1G'
  const json = '-object {"qom-type":"memory-backend-memfd","id":"m0","size":268435456}'
  expect(parse(`${memory} ${json}`).backendBytes).toEqual([1024 * MIB, 256 * MIB])
  expect(parse('-object rng-random,size=5').backendBytes).toEqual([])
  expect(parse('-object {"qom-type":').backendBytes).toEqual([])
})

it.each([
  ['-M virt', { type: 'virt', hasRamLimit: false }],
  ['-machine q35,smm=off -machine usb=off', { type: 'q35', hasRamLimit: false }],
  ['-M type=pc -machine smm=off,max-ram-below-4g=1G', { type: 'pc', hasRamLimit: true }],
  ['', { hasRamLimit: false }],
])('the machine of "%s" is %o', (line, machine) => {
  expect(parse(line).machine).toEqual(machine)
})

it.each([
  ['', 1],
  ['-smp 4', 4],
  ['-smp cpus=3,maxcpus=8', 3],
  ['-smp sockets=2,cores=3,threads=2', 12],
  ['-smp maxcpus=6,cores=2', 6],
])('"%s" has %d vCPUs', (line, vcpus) => {
  expect(parse(line).vcpus).toBe(vcpus)
})

it.each([
  ['-enable-kvm', 'kvm'],
  ['-accel kvm,dirty-ring-size=1024', 'kvm'],
  ['-machine q35,accel=kvm:tcg', 'kvm'],
  ['-M pc,accel=tcg', 'tcg'],
  ['-machine none', undefined],
  ['', undefined],
])('"%s" names the accelerator %s', (line, accelerator) => {
  expect(parse(line).accelerator).toBe(accelerator)
})

it('the name has single commas, and may be a value without a name', () => {
  expect(parse('-name guest=a,,b,debug-threads=on').name).toBe('a,b')
  expect(parse('-name web').name).toBe('web')
  expect(parse('-name web,process=x -name debug-threads=on').name).toBe('web')
  expect(parse('-m 1').name).toBeUndefined()
})

it('a command line of libvirt is recognised', () => {
  const monitor = '-chardev socket,id=charmonitor,fd=22,server=on,wait=off'
  const key = (file: string): string =>
    `-object {"qom-type":"secret","id":"masterKey0","format":"raw","file":"${file}"}`
  expect(parse(monitor).libvirt).toBe('system')
  expect(parse(key('/var/lib/libvirt/qemu/domain-1-a/master-key.aes')).libvirt).toBe('system')
  expect(parse(key('/home/a/.config/libvirt/qemu/lib/domain-1-a/k.aes')).libvirt).toBe('session')
  expect(parse('-object secret,id=masterKey0,file=/home/a/k').libvirt).toBe('session')
  expect(parse('-chardev socket,id=charmonitor,path=/run/q,server').libvirt).toBeUndefined()
})

it('a word without a value is on, or off if it begins with no', () => {
  expect([...parseValues('x,server,nowait,a=,b=1=2', 'first')]).toEqual([
    ['first', 'x'],
    ['server', 'on'],
    ['wait', 'off'],
    ['a', ''],
    ['b', '1=2'],
  ])
})
