/**
 * What users of the installed package write, in each kind of module. Each program prints one
 * measurement as JSON.
 */

import { expect } from 'vitest'
import { kvm } from '../fixtures/kvm.js'
import { expectTruth } from '../fixtures/truth.js'
import type { Ended } from './installed.js'

const body = `
async function main() {
  const vm = await VirtualMachine.create({ memory: '64MiB' })
  try {
    await vm.load(workload.stride({ pages: 2000 }))
    await vm.start()
    console.log(JSON.stringify(await vm.measureDirtyRate({ window: '200ms' })))
  } finally {
    await vm.close()
  }
}
main()
`

export const esm: string = `import { VirtualMachine, workload } from 'dirtyrate'\n${body}`
export const cjs: string = `const { VirtualMachine, workload } = require('dirtyrate')\n${body}`

/** Were the types not found, they would be \`any\`, and what is expected to be an error none. */
export const typescript: string = `
import { type ErrorCode, type DirtyRateMeasurement, VirtualMachine, type Workload, workload } from 'dirtyrate'

export const code: ErrorCode = 'ERR_NATIVE_LOAD'
// @ts-expect-error: no such code
export const wrong: ErrorCode = 'ERR_NONE'

async function measure(guest: Workload): Promise<DirtyRateMeasurement> {
  const vm = await VirtualMachine.create({ memory: '64MiB' })
  try {
    await vm.load(guest)
    await vm.start()
    return await vm.measureDirtyRate({ window: '200ms' })
  } finally {
    await vm.close()
  }
}

async function main(): Promise<void> {
  console.log(JSON.stringify(await measure(workload.stride({ pages: 2000 }))))
}
void main()
`

/**
 * A program that measured, and what the guest counted itself agrees. Without KVM the binary has to
 * load all the same, to say that.
 */
export function expectMeasured({ status, stdout, stderr }: Ended): void {
  if (!kvm) {
    expect(status).not.toBe(0)
    expect(stdout + stderr).toContain('ERR_KVM_ABSENT')
    return
  }
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const measurement = JSON.parse(stdout)
  expect(measurement).toMatchObject({ complete: true, mode: 'dirty-bitmap' })
  expectTruth(measurement)
  expect(measurement.pages).toBeGreaterThan(0)
}
