/** What helps a user who may not open /dev/kvm, for each owner, group and mode that it may have. */

import { describe, expect, it } from 'vitest'
import { parseGroups } from '../../ts/ground/groups.js'
import { type DeviceFacts, judgeAccess } from '../../ts/ground/kvm-device.js'

/** The test runs as any user, and no user is in a group with one of these numbers. */
const KVM = 4_000_001
const OTHER = 4_000_002
const groups = parseGroups(`root:x:0:\nkvm:x:${KVM}:alice\nother:x:${OTHER}:\nnot a line\n`)

const facts = (over: Partial<DeviceFacts>): DeviceFacts => ({
  ...{ gid: KVM, mode: 0o20_660, groups, user: 'bob', isRoot: false, opens: false },
  ...over,
})

describe('a user who may not open /dev/kvm', () => {
  it.each([
    ['its group may not write it', { mode: 0o20_600 }],
    ['its group may only read it', { mode: 0o20_640 }],
    ['its group is root without rights', { gid: 0, mode: 0o20_600 }],
    ['its group is root', { gid: 0 }],
  ])('gives the device to the group kvm, where %s', (_, over) => {
    const { opens, why, mend } = judgeAccess(facts(over))
    expect(opens).toBe(false)
    expect(why).toContain('only for root')
    expect(mend).toContain('sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm.')
    expect(mend).toContain('usermod -aG kvm bob')
    expect(mend).not.toContain('aG root')
  })

  it('is not told to join a group that has this user already', () => {
    expect(judgeAccess(facts({ mode: 0o20_600, user: 'alice' })).mend).not.toContain('usermod')
    const { why, mend } = judgeAccess(facts({ user: 'alice' }))
    expect(why).toBe('alice is in kvm, but has not logged in since')
    expect(mend).toContain('newgrp kvm')
  })

  it('makes the group first on a host that has none', () => {
    const { mend } = judgeAccess(facts({ gid: 0, mode: 0o20_600, groups: [] }))
    expect(mend).toContain('sudo groupadd --system kvm && sudo chgrp')
  })

  it('joins the group that owns the device', () => {
    expect(judgeAccess(facts({})).mend).toContain('sudo usermod -aG kvm bob')
    expect(judgeAccess(facts({ gid: OTHER })).mend).toContain('sudo usermod -aG other bob')
  })

  it('without a name is in no group that lists no members', () => {
    for (const user of [undefined, '']) {
      const { why, mend } = judgeAccess(facts({ gid: OTHER, user }))
      expect(why).toBe('this process is not in other')
      expect(mend).toContain('usermod -aG other')
    }
    expect(judgeAccess(facts({ user: undefined })).mend).toContain('usermod -aG kvm "$(id -un)"')
  })
})

it.each([
  ['root', { isRoot: true, mode: 0o20_600 }],
  ['everybody', { mode: 0o20_666 }],
  ['a user whom an access-control list names', { opens: true }],
])('/dev/kvm is open to %s', (_, over) => {
  expect(judgeAccess(facts(over))).toMatchObject({ opens: true })
  expect(judgeAccess(facts(over)).mend).toBeUndefined()
})
