import { expect, it } from 'vitest'
import { reasonIn } from '../../../ts/targets/process/absence.js'

const STATUS = 'Name:\tx\nState:\tR (running)\nTgid:\t47\nPid:\t47\n'
/** A line of `/proc/47/stat` up to its flags, which are those of Linux for these processes. */
const stat = (flags: number): string => `47 (a) b (c) R 2 0 0 0 -1 ${flags} 0 0 0\n`

it.each([
  ['a thread of the kernel', 0x0020_8040, 'process 47 is a thread of the kernel'],
  ['a process in the middle of its exit', 0x0040_0004, 'process 47 is ending'],
])('tells %s by its flags', (_, flags, message) => {
  expect(reasonIn(47, STATUS, stat(flags))?.message).toContain(message)
})
