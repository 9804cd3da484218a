/** The configuration of `serve`: what the file says, with the command line, all of it checked. */

import { parseChoice, parseCountText, show } from '../../../ground/arguments.js'
import { argumentError } from '../../../ground/errors.js'
import { parseDuration } from '../../../ground/units.js'
import type { Source } from '../../../host/discovery/sources.js'
import { uniqueLabelOf } from '../../../metrics/labels.js'
import { parseListenAddress } from '../../../server/address.js'
import { checkTarget } from '../../../targets/open.js'
import { VMM_NAMES } from '../../../targets/process/vmms/programs.js'
import type { Session } from '../../session.js'
import { parseBudget } from '../budget.js'
import type { ServeOptions } from '../options.js'
import { parseSettings, type Settings } from '../settings.js'
import { readDocument } from './document.js'
import { MEASURING_KEYS, optionsIn, SERVER_KEYS } from './keys.js'
import { located, Section } from './section.js'

const MEASURING = Object.keys(MEASURING_KEYS)
const ROOT = [...Object.keys(SERVER_KEYS), 'budget', ...MEASURING, 'discovery', 'targets']
const TARGET = ['target', 'name', ...MEASURING]
const CHOICE = ['include', 'exclude']
const DISCOVERY = ['every', 'most', 'libvirt', 'qmp', 'pid']
const LIBVIRT = ['connect', 'outside', 'monitor', ...CHOICE, ...MEASURING]
const QMP = ['sockets', 'exclude', ...MEASURING]
const PID = ['vmm', 'command', ...CHOICE, ...MEASURING]

const DEFAULT_EVERY = '30s'
const DEFAULT_MOST = 1000
/** Each target has some tens of series. */
const LARGEST_MOST = 10_000

/** Where VMs are looked for, with how those are measured that are found there. */
export interface ConfiguredSource {
  readonly source: Source
  /** What metrics call it. */
  readonly label: string
  readonly settings: Settings
}

/** A target that the file names. */
export interface ConfiguredTarget {
  readonly uri: string
  readonly label: string
  readonly settings: Settings
}

export interface Config {
  /** The options with those of the file, apart from those of single targets. */
  readonly options: ServeOptions
  /** The CPUs that measuring may take; undefined if there is no limit. */
  readonly share: number | undefined
  readonly targets: readonly ConfiguredTarget[]
  readonly sources: readonly ConfiguredSource[]
  /** How often VMs are looked for. */
  readonly discoverMs: number
  /** How many targets there may be. */
  readonly most: number
  /** Tells a mistake in an option as one of its place in the file. */
  located<T>(check: () => T): T
}

/** What the command line has, and which of it was really given. */
export interface CommandLine {
  readonly file: string
  readonly uris: readonly string[]
  readonly options: ServeOptions
  isGiven(option: string): boolean
}

/** Reads and checks the file. Rejects with ERR_ARGUMENT, which has the place of the mistake. */
export async function readConfig(session: Session, line: CommandLine): Promise<Config> {
  const document = await readDocument(line.file, '--config', session.signal)
  const root = new Section(document, document.root, ROOT)
  const options = withFile(line, root)
  const at = <T>(check: () => T): T => located([root], check)
  at(() => parseListenAddress(options.listen, '--listen'))
  const { budget } = options
  const share = budget === undefined ? undefined : at(() => parseBudget(budget, '--budget'))
  const common = at(() => parseSettings(session, options, line.uris))
  const settingsIn = (section: Section, uris: readonly string[]): Settings => {
    const own = { ...options, ...optionsIn(section, MEASURING_KEYS) }
    return located([section, root], () => parseSettings(session, own, uris))
  }
  const named = root.sections('targets', TARGET).map(section => targetIn(section, settingsIn))
  const targets = [
    ...line.uris.map(uri => ({ uri, label: uri, settings: common })),
    ...named.filter(({ uri }) => !line.uris.includes(uri)),
  ]
  const discovery = root.section('discovery', DISCOVERY)
  const sources = discovery === undefined ? [] : sourcesIn(discovery, settingsIn)
  const [discoverMs, most] = [everyOf(discovery), mostOf(discovery)]
  if (targets.length === 0 && sources.length === 0) {
    throw document.mistake(
      document.root,
      'nothing is to be measured',
      'Name targets (targets:), or say where to look for virtual machines (discovery:).',
    )
  }
  refuseTwice(root, targets)
  return {
    options,
    share,
    targets,
    sources,
    discoverMs,
    most,
    located: at,
  }
}

/** The options of the command line, with those of the file that were not given there. */
function withFile({ options, isGiven }: CommandLine, root: Section): ServeOptions {
  const inFile = optionsIn(root, { ...SERVER_KEYS, budget: 'text', ...MEASURING_KEYS })
  const added = Object.entries(inFile).filter(([option]) => !isGiven(option))
  return { ...options, ...Object.fromEntries(added) }
}

type SettingsIn = (section: Section, uris: readonly string[]) => Settings

function targetIn(section: Section, settingsIn: SettingsIn): ConfiguredTarget {
  const uri = section.text('target')
  if (uri === undefined)
    throw section.mistake('target', 'it is missing', 'Write target: libvirt:web, or another one.')
  try {
    checkTarget(uri)
  } catch (error) {
    const { message, hint } = error as { message: string; hint: string }
    throw section.mistake('target', message.replace(/^target: /, ''), hint)
  }
  return { uri, label: section.text('name') ?? uri, settings: settingsIn(section, [uri]) }
}

function refuseTwice(root: Section, targets: readonly ConfiguredTarget[]): void {
  const uris = targets.map(({ uri }) => uri)
  const twice = uris.find((uri, at) => uris.indexOf(uri) !== at)
  if (twice === undefined) return
  throw root.mistake('targets', `${show(twice)} is there twice`, 'Leave one of the two out.')
}

function sourcesIn(discovery: Section, settingsIn: SettingsIn): ConfiguredSource[] {
  const libvirt = discovery.sections('libvirt', LIBVIRT).map((section): ConfiguredSource => {
    const connect = section.text('connect')
    const [outside, monitor] = [section.flag('outside'), section.flag('monitor')]
    if (outside === true && monitor === true) {
      throw section.mistake(
        'outside',
        'it cannot be combined with monitor',
        'Leave out one of the two.',
      )
    }
    const options = {
      ...(outside === true ? { outside: 'yes' } : {}),
      ...(monitor === true ? { monitor: 'yes' } : {}),
    }
    const source = { kind: 'libvirt', connect, options, ...choiceIn(section) } as const
    return {
      source,
      label: labelFor('libvirt', connect === undefined ? [] : [connect], section),
      settings: settingsIn(section, []),
    }
  })
  const qmp = discovery.sections('qmp', QMP).map((section): ConfiguredSource => {
    const sockets = section.list('sockets') ?? []
    if (sockets.length === 0 || sockets.some(path => !path.startsWith('/'))) {
      throw section.mistake(
        'sockets',
        sockets.length === 0 ? 'it is missing' : 'a path does not begin with /',
        'Write paths, in which * stands for any characters but /: sockets: [/run/vms/*.sock].',
      )
    }
    const source = { kind: 'qmp', sockets, exclude: section.list('exclude') } as const
    return { source, label: labelFor('qmp', sockets, section), settings: settingsIn(section, []) }
  })
  const pid = discovery.sections('pid', PID).map((section): ConfiguredSource => {
    const [vmm, command] = [section.list('vmm'), section.list('command')]
    if (vmm !== undefined && command !== undefined) {
      throw section.mistake('command', 'it cannot be combined with vmm', 'Write two items.')
    }
    const choices = [...Object.keys(VMM_NAMES), 'other']
    located([section], () => {
      for (const word of vmm ?? []) parseChoice(word, '--vmm', choices)
    })
    const source = { kind: 'pid', vmm, command, ...choiceIn(section) } as const
    const words = vmm ?? command ?? []
    return { source, label: labelFor('pid', words, section), settings: settingsIn(section, []) }
  })
  const all = [...libvirt, ...qmp, ...pid]
  const taken = new Set<string>()
  return all.map(one => {
    const label = uniqueLabelOf(one.label, taken)
    taken.add(label)
    return { ...one, label }
  })
}

const choiceIn = (section: Section): { include?: string[]; exclude?: string[] } => ({
  ...(section.has('include') ? { include: section.list('include') ?? [] } : {}),
  ...(section.has('exclude') ? { exclude: section.list('exclude') ?? [] } : {}),
})

/** What metrics call a source: what it looks at, and for which names. */
function labelFor(kind: string, words: readonly string[], section: Section): string {
  return [kind, ...words, ...(section.list('include') ?? [])].join(' ')
}

function everyOf(discovery: Section | undefined): number {
  const text = discovery?.text('every') ?? DEFAULT_EVERY
  const [least, most] = [1000, 24 * 3_600_000]
  const isPeriod = (ms: number): boolean => ms >= least && ms <= most
  return located(discovery === undefined ? [] : [discovery], () => {
    const ms = parseDuration(text, '--every', isPeriod)
    if (isPeriod(ms)) return ms
    throw argumentError(`--every: ${show(text)} is out of range`, 'Give 1s to 24h.')
  })
}

function mostOf(discovery: Section | undefined): number {
  const text = discovery?.text('most')
  if (discovery === undefined || text === undefined) return DEFAULT_MOST
  return located([discovery], () => parseCountText(text, '--most', 1, LARGEST_MOST, DEFAULT_MOST))
}
