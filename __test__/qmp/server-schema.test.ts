/**
 * The schema of the server: complete in itself, the same as a real QEMU's for each command and
 * event, and true of the answers.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createQmpServer, workload } from '../../ts/index.js'
import { introspect } from '../../ts/qapi/introspection.js'
import { type CommandName, commandTypes, eventTypes } from '../../ts/qapi/schema.js'
import { describeKvm, describeWith } from '../fixtures/kvm.js'
import { running } from '../fixtures/machine.js'
import { RawClient } from '../fixtures/raw-client.js'

interface Member {
  name: string
  type: string
  default?: null
}
interface Entry {
  name: string
  'meta-type': 'builtin' | 'enum' | 'array' | 'object' | 'command' | 'event'
  'arg-type'?: string
  'ret-type'?: string
  'element-type'?: string
  'json-type'?: string
  members?: Member[]
  values?: string[]
  tag?: string
  variants?: { case: string; type: string }[]
}
type Schema = readonly Entry[]

interface Qemu {
  execute(command: string): Promise<unknown>
  kill(): Promise<void>
}
const { Qemu }: { Qemu: { start(args: string[], accel?: string): Promise<Qemu> } } = await import(
  new URL('../../scripts/qemu/qemu.mjs', import.meta.url).href
)

const ours = introspect(Object.values(commandTypes), Object.values(eventTypes)) as unknown as Schema
const byName = (schema: Schema): Map<string, Entry> =>
  new Map(schema.map(entry => [entry.name, entry]))

/** An entry with the entries of its types in place of their names, which are numbers. */
function resolved(schema: Map<string, Entry>, name: string): unknown {
  const whole = (value: unknown, key = ''): unknown => {
    if (typeof value === 'string' && (key === 'type' || key.endsWith('-type'))) {
      if (key === 'meta-type' || key === 'json-type') return value
      return resolved(schema, value)
    }
    if (Array.isArray(value)) return value.map(item => whole(item))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .filter(([inner]) => inner !== 'name' || key !== 'entry')
        .map(([inner, member]) => [inner, whole(member, inner)]),
    )
  }
  return whole(schema.get(name), 'entry')
}

/** What is wrong with `value` as one of type `name`, if anything is. */
function faults(schema: Map<string, Entry>, name: string, value: unknown, at = ''): string[] {
  const type = schema.get(name) as Entry
  switch (type['meta-type']) {
    case 'builtin': {
      const json = typeof value === 'number' && Number.isInteger(value) ? 'int' : typeof value
      return type['json-type'] === 'value' || type['json-type'] === json ? [] : [`${at}: ${json}`]
    }
    case 'enum':
      return type.values?.includes(value as string) ? [] : [`${at}: ${value}`]
    case 'array':
      return (value as unknown[]).flatMap((item, index) =>
        faults(schema, type['element-type'] as string, item, `${at}[${index}]`),
      )
    default: {
      const members = value as Record<string, unknown>
      const variant = type.variants?.find(one => one.case === members[type.tag as string])
      const known = [
        ...(type.members ?? []),
        ...(variant === undefined ? [] : (schema.get(variant.type)?.members ?? [])),
      ]
      const missing = known.filter(
        member => member.default === undefined && members[member.name] === undefined,
      )
      const unknown = Object.keys(members).filter(key => !known.some(one => one.name === key))
      return [
        ...missing.map(member => `${at}: no ${member.name}`),
        ...unknown.map(key => `${at}: ${key} is not known`),
        ...known.flatMap(member =>
          members[member.name] === undefined
            ? []
            : faults(schema, member.type, members[member.name], `${at}.${member.name}`),
        ),
      ]
    }
  }
}

describe('the schema', () => {
  it('has each type that it names, once, and no other', () => {
    const names = ours.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    const named = ours.flatMap(entry => [
      ...[entry['arg-type'], entry['ret-type'], entry['element-type']].flatMap(name => name ?? []),
      ...(entry.members ?? []).flatMap(({ type }) => type ?? []),
      ...(entry.variants ?? []).map(({ type }) => type),
    ])
    const types = ours.filter(entry => !['command', 'event'].includes(entry['meta-type']))
    expect([...new Set(named)].sort()).toEqual(types.map(({ name }) => name).sort())
  })
})

describeWith('qemu-system-x86_64', 'the schema of a real QEMU', () => {
  it('says the same of each command and event', async () => {
    const qemu = await Qemu.start(['-S', '-m', '64'], 'tcg')
    onTestFinished(() => qemu.kill())
    const theirs = byName((await qemu.execute('query-qmp-schema')) as Schema)
    for (const name of [...Object.keys(commandTypes), ...Object.keys(eventTypes)])
      expect(resolved(byName(ours), name), name).toEqual(resolved(theirs, name))
  })
})

describeKvm('the answers of the server', () => {
  it('have the types of the schema that it gives', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-qmp-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const vm = await running(workload.stride({ pages: 500 }), {
      vcpus: 2,
      dirtyLog: { ringEntries: 65_536 },
    })
    const server = await createQmpServer(vm, { socket: join(folder, 'qmp') })
    onTestFinished(() => server.close())
    const client = await RawClient.negotiated(server.socket)
    const ask = async (execute: string, args = {}): Promise<unknown> =>
      JSON.parse(await client.ask(JSON.stringify({ execute, arguments: args }))).return
    const given = byName((await ask('query-qmp-schema')) as Schema)
    const check = async (name: CommandName, args = {}): Promise<unknown> => {
      const answer = await ask(name, args)
      expect(faults(given, given.get(name)?.['ret-type'] as string, answer), name).toEqual([])
      return answer
    }
    expect(server.commands).toEqual(Object.keys(commandTypes))
    expect(await check('query-commands')).toEqual(server.commands.map(name => ({ name })))
    for (const name of ['query-version', 'query-name', 'query-status', 'query-qmp-schema'] as const)
      await check(name)
    await check('human-monitor-command', { 'command-line': 'info dirty_rate' })
    await check('query-dirty-rate')
    await check('calc-dirty-rate', {
      'calc-time': 50,
      'calc-time-unit': 'millisecond',
      mode: vm.modes.includes('dirty-ring') ? 'dirty-ring' : 'dirty-bitmap',
    })
    await check('query-dirty-rate')
    let info: { status?: string } = {}
    while (info.status !== 'measured')
      info = (await check('query-dirty-rate', { 'calc-time-unit': 'millisecond' })) as typeof info
    client.send('{"execute":"stop","id":"stopped"}')
    const [event, answer] = (await client.until('"stopped"')).trimEnd().split('\r\n').slice(-2)
    expect(JSON.parse(event ?? '').event).toBe('STOP')
    expect(given.get('STOP')?.['meta-type']).toBe('event')
    expect(
      faults(given, given.get('stop')?.['ret-type'] ?? '', JSON.parse(answer ?? '').return),
    ).toEqual([])
  })
})
