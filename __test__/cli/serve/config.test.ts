/** Reading a configuration: what is accepted, what is refused and where, and the schema of it. */

import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { makeProgram } from '../../../ts/cli/program.js'
import { type Config, readConfig } from '../../../ts/cli/serve/config/config.js'
import { MEASURING_KEYS, SERVER_KEYS } from '../../../ts/cli/serve/config/keys.js'
import type { ServeOptions } from '../../../ts/cli/serve/options.js'
import type { Session } from '../../../ts/cli/session.js'
import { modes } from '../../../ts/results/mode.js'
import { root } from '../../fixtures/command.js'
import { folder } from '../../fixtures/elf.js'

const schema = JSON.parse(readFileSync(`${root}/serve-config.schema.json`, 'utf8'))
const validate = new Ajv2020({
  strict: true,
  allowUnionTypes: true,
  strictRequired: false,
}).compile(schema)

const command = makeProgram(async () => {}).commands.find(one => one.name() === 'serve')
const defaults = (command?.opts() ?? {}) as ServeOptions

const session = { signal: new AbortController().signal } as Session

/** Reads a text as the file of `--config`; `given` are options of the command line. */
function read(
  text: string,
  given: Partial<ServeOptions> = {},
  uris: readonly string[] = [],
): Promise<Config> {
  const options = { ...defaults, ...given }
  const file = folder()('serve.yaml', text)
  const isGiven = (option: string): boolean => option in given
  return readConfig(session, { file, uris, options, isGiven })
}

const WHOLE = `
listen: 127.0.0.1:0
allow-host: [vm.example, other.example]
budget: 2.5%
every: 20s
curve-every: never
confidence: 0.90
discovery:
  every: 1min
  most: 50
  pid:
    - command: qemu-*, firecracker
    - vmm: [crosvm]
      include: [web-*]
      window: 2s
  libvirt:
    - {}
    - connect: qemu:///session
      exclude: '*-test'
      outside: yes
      mode: page-sampling
      sample-pages: 1024
  qmp:
    - sockets: [/run/vms/*.sock]
targets:
  - target: pid:4711
    name: database
    curve-every: 5min
    windows: [100ms, 1s]
    bandwidth: [10Gbit/s, 25Gbit/s]
    downtime: 300ms
`

describe('a configuration', () => {
  it('has what it says, with what the parts inherit', async () => {
    const config = await read(WHOLE)
    expect(config).toMatchObject({ share: 0.025, discoverMs: 60_000, most: 50 })
    expect(config.options).toMatchObject({
      listen: '127.0.0.1:0',
      allowHost: 'vm.example,other.example',
      every: '20s',
      window: '1s',
    })
    expect(config.sources.map(({ label }) => label)).toEqual([
      'libvirt',
      'libvirt qemu:///session',
      'qmp /run/vms/*.sock',
      'pid qemu-* firecracker',
      'pid crosvm web-*',
    ])
    const [, session, , , crosvm] = config.sources
    expect(session?.source).toMatchObject({ options: { outside: 'yes' }, exclude: ['*-test'] })
    expect(session?.settings.plan).toEqual({
      everyMs: 20_000,
      measuring: { mode: 'page-sampling', samplePages: 1024, confidence: 0.9, window: 1000 },
    })
    expect(crosvm?.settings.plan.measuring.window).toBe(2000)
    const [database] = config.targets
    expect(database).toMatchObject({ uri: 'pid:4711', label: 'database' })
    expect(database?.settings.plan.curve?.everyMs).toBe(300_000)
    expect(database?.settings.links.map(({ bandwidth }) => bandwidth)).toEqual([
      '10Gbit/s',
      '25Gbit/s',
    ])
  })

  it('yields to the options of the command line, but what is said of one target does not', async () => {
    const text = 'every: 20s\nwindow: 2s\ntargets:\n  - { target: "pid:1", window: 3s }\n'
    const { options, targets } = await read(text, { window: '1s' }, ['pid:2'])
    expect(options).toMatchObject({ every: '20s', window: '1s' })
    expect(targets.map(({ uri, settings }) => [uri, settings.plan.measuring.window])).toEqual([
      ['pid:2', 1000],
      ['pid:1', 3000],
    ])
  })

  it('may have aliases', async () => {
    const text =
      'targets:\n  - { target: "pid:1", window: &w 2s }\n  - { target: "pid:2", window: *w }\n'
    const { targets } = await read(text)
    expect(targets.map(({ settings }) => settings.plan.measuring.window)).toEqual([2000, 2000])
  })

  it.each([
    ['', '1:1: the file is empty', 'Write at least one target'],
    ['- a\n', '1:1: the file has no keys', 'Write at least one'],
    ['every: 1s\n', '1:1: nothing is to be measured', 'Name targets'],
    ['targets: [\n', '2:1: ', 'The file has to be YAML 1.2.'],
    ['window: 1s\nwindow: 2s\n', '2:1: the key is there twice', 'Leave one of the two out.'],
    ['targets:\n\t- a\n', '2:1: a line begins with a tab', 'by spaces'],
    ['window: !what 1s\n', '1:9: unresolved tag: !what', 'YAML'],
    ['a: &x 1\n---\nb: 2\n', '2:1: the file has several documents', 'Leave one'],
    ['windw: 1s\n', "1:1: 'windw' is not known here", "Did you mean 'window'?"],
    ['? [a]\n: 1\n', '1:3: a key is no word', 'Known: listen'],
    ['window: 1\n', "1:9: window: '1' has no unit", 'Did you mean 1s?'],
    ['window:\n', '1:8: window: it has no value', 'Write one'],
    ['window: true\n', '1:9: window: true is no text', 'in quotes'],
    ['window: [1s]\n', '1:9: window: it is no single value', 'Write one value'],
    ['windows: [1s, ""]\n', '1:10: windows: a word of the list is empty', 'windows: [one, two]'],
    ['window: 20s\n', '1:9: window: 20s is longer than every 10s', 'not longer'],
    [
      'curve-every: never\nwindows: 1s\n',
      '2:10: windows: it is for curves, and with curve-every',
      'Leave',
    ],
    ['bandwidth: 1Gbit/s\n', '1:12: bandwidth: used only with downtime', 'Give downtime too'],
    ['listen: example.org:1\n', "1:9: listen: 'example.org:1' is not an address", 'Give an IP'],
    ['budget: 2\n', "1:9: budget: '2' is not a part of a CPU", 'Did you mean 2%?'],
    ['budget: 0.01%\n', "1:9: budget: '0.01%' is out of range", 'Give 0.1% to'],
    ['force: 1\n', '1:8: force: 1 is not true or false', 'Write force: true'],
    ['targets: pid:1\n', '1:10: targets: it is not a list', '- '],
    ['targets: [pid:1]\n', '1:11: targets: there are no keys', 'Give it a key: target: pid:1'],
    ['targets: [[]]\n', '1:11: targets: there are no keys', 'Known: target, name'],
    ['targets:\n  - name: a\n', '2:5: target: it is missing', 'Write target:'],
    [
      'targets:\n  - target: gest:idle\n',
      "2:13: target: the scheme 'gest'",
      "Did you mean 'guest'?",
    ],
    [
      'targets:\n  - target: pid:1\n  - target: pid:1\n',
      "2:3: targets: 'pid:1' is there twice",
      'Leave',
    ],
    ['discovery:\n  pid:\n    - vmm: qemuu\n', "3:12: vmm: 'qemuu' is not known", "'qemu'?"],
    ['discovery:\n  every: 5ms\n', "2:10: every: '5ms' is out of range", 'Give 1s to 24h'],
    ['discovery:\n  most: 0\n', '2:9: most: 0 is out of range', 'from 1 to 10000'],
    ['discovery:\n  qmp: [{ sockets: run/x }]\n', '2:20: sockets: a path does not begin', 'Write'],
    ['discovery:\n  qmp: [{ exclude: /x }]\n', '2:9: sockets: it is missing', 'Write paths'],
    [
      'discovery:\n  pid: [{ vmm: qemu, command: x }]\n',
      '2:31: command: it cannot be combined with vmm',
      'two items',
    ],
    [
      'discovery:\n  libvirt: [{ outside: yes, monitor: yes }]\n',
      '2:24: outside: it cannot be combined with monitor',
      'Leave out',
    ],
  ])('is refused, with its place and what to do: %j', async (text, message, hint) => {
    await expect(read(text)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(`serve.yaml:${message}`),
      hint: expect.stringContaining(hint),
    })
  })

  it('is refused if it cannot be read, or is no text', async () => {
    const file = folder()('x.yaml', Buffer.from([0xff, 0xfe, 0x00]) as unknown as string)
    const line = { uris: [], options: defaults, isGiven: () => false }
    await expect(readConfig(session, { ...line, file })).rejects.toThrow('it is no text in UTF-8')
    await expect(readConfig(session, { ...line, file: '/nonexistent' })).rejects.toThrow(
      "--config: '/nonexistent' cannot be read: no such file or directory (ENOENT)",
    )
  })
})

describe('the published schema', () => {
  it('has each option of the command that goes with --config, and no other key', () => {
    const options = (command?.options ?? []).map(({ long = '' }) => long.slice(2))
    const inFile = options.filter(name => !['config', 'recording', 'help'].includes(name))
    const own = ['discovery', 'targets']
    expect(Object.keys(schema.properties).sort()).toEqual([...inFile, ...own].sort())
    const keys = [...Object.keys(SERVER_KEYS), ...Object.keys(MEASURING_KEYS), 'budget']
    expect(keys.sort()).toEqual(inFile.sort())
  })

  it('says the defaults of the command', () => {
    const withDefault = (command?.options ?? []).filter(
      ({ long, defaultValue }) => long !== '--force' && typeof defaultValue === 'string',
    )
    expect(withDefault.length).toBeGreaterThan(4)
    for (const { long = '', defaultValue } of withDefault) {
      const key = long.slice(2)
      const of = schema.$defs[key] ?? schema.properties[key]
      expect([key, of.default]).toEqual([key, defaultValue])
    }
    expect(schema.$defs.mode.enum.toSorted()).toEqual([...modes, 'auto'].toSorted())
  })

  it.each([
    WHOLE,
    'targets: [{ target: "pid:1" }]',
    ...['deploy/serve.yaml'].map(file => readFileSync(`${root}/${file}`, 'utf8')),
  ])('accepts what the command accepts', async text => {
    await read(text)
    expect(validate(parse(text)), JSON.stringify(validate.errors)).toBe(true)
  })

  it.each([
    'windw: 1s',
    'window: true',
    'force: maybe',
    'budget: 2',
    'targets: [{ name: a }]',
    'targets: [{ target: "pid:1", listen: "127.0.0.1:1" }]',
    'targets: [{ target: "nothing" }]',
    'discovery: { qmp: [{ exclude: /x }] }',
    'discovery: { pid: [{ vmm: qemu, command: x }] }',
    'discovery: { most: 0 }',
    'discovery: { libvirt: [{ outside: perhaps }] }',
  ])('refuses what the command refuses: %s', async text => {
    await expect(read(text)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    expect(validate(parse(text))).toBe(false)
  })
})
