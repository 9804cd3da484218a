// Tells the shim that is preloaded into this process what fails.

import { openSync, readSync, writeSync } from 'node:fs'

// The layout of `struct plan` in shim.c.
const IOCTLS_AT = 56
const SIZE = IOCTLS_AT + 4 * 256
const file = openSync(process.env.DIRTYRATE_FAULTS, 'r+')

/** From now on a call fails. */
export function setPlan({ call, number = 0, errno, at = 1, times = 0 }) {
  const plan = Buffer.alloc(IOCTLS_AT)
  plan.writeUInt32LE(number, 32)
  plan.writeInt32LE(errno, 36)
  plan.writeUInt32LE(at, 40)
  plan.writeUInt32LE(times, 44)
  // The name last: from then on calls fail.
  writeSync(file, plan.subarray(32), 0, IOCTLS_AT - 32, 32)
  plan.write(call, 0, 'latin1')
  writeSync(file, plan.subarray(0, 32), 0, 32, 0)
}

/**
 * From now on nothing fails. Returns how often the call of the plan was made, how many of them
 * failed, and which ioctls of KVM were made.
 */
export function clearPlan() {
  writeSync(file, Buffer.alloc(32), 0, 32, 0)
  const plan = Buffer.alloc(SIZE)
  readSync(file, plan, 0, SIZE, 0)
  const ioctls = []
  for (let number = 0; number < 256; number++) {
    if (plan.readUInt32LE(IOCTLS_AT + 4 * number) > 0) ioctls.push(number)
  }
  return { seen: plan.readUInt32LE(48), failed: plan.readUInt32LE(52), ioctls }
}

/**
 * Tries steps one after the other, whatever became of those before, as a program does that tries
 * again. `errors` gets what those that fail say.
 */
export function attempts() {
  const errors = []
  const attempt = async (step, work) => {
    try {
      return await work()
    } catch (error) {
      errors.push({ step, ...said(error) })
      return undefined
    }
  }
  return { errors, attempt }
}

/** What an error says, as JSON can have it. */
const said = error => ({
  name: error?.name,
  code: error?.code,
  message: error?.message,
  hint: error?.hint,
  details: error?.details,
})
