// Unpacks Debian's packages, of any suite and architecture, into a folder of the cache. apt works
// in that folder with its own state, so it needs no root, installs nothing, and does not change the
// machine's sources.

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * Where packages are kept. What is in it can be removed at any time; with that, the next run takes
 * what Debian has then.
 */
export const cache =
  process.env.DIRTYRATE_RIG_CACHE ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'dirtyrate/rigs')

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** Runs a command; its standard output. Throws with what it said. */
export function output(command, args, options = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
  })
  if (error) throw new Error(`${command} cannot be run: ${error.message}`)
  if (status !== 0) {
    throw new Error(
      `${command} ${args[0]} ended with ${signal ?? status}. ${String(stderr ?? '').trim()}`,
    )
  }
  return stdout
}

/** The fields of each stanza, as apt's sources and its answers have them. */
export function stanzas(text) {
  const unfolded = text.replace(/^#.*\n/gm, '').replace(/\n[ \t]+/g, ' ')
  return unfolded.split(/\n{2,}/).map(stanza => {
    const fields = stanza.matchAll(/^([A-Za-z-]+):[ \t]*(.*)$/gm)
    return Object.fromEntries([...fields].map(([, name, value]) => [name, value.trim()]))
  })
}

/**
 * Where the machine's own Debian comes from: the address and the key of the source that has the
 * suite `codename`.
 */
export function sourceOf(codename, files) {
  for (const { name, text } of files) {
    if (name.endsWith('.sources')) {
      const found = stanzas(text).find(({ Suites = '' }) => Suites.split(/\s+/).includes(codename))
      if (found?.URIs)
        return { uri: found.URIs.split(/\s+/)[0], signedBy: found['Signed-By'] ?? KEYRING }
    } else {
      const line = new RegExp(`^deb\\s+(?:\\[([^\\]]*)\\]\\s+)?(\\S+)\\s+${codename}\\s`, 'm').exec(
        text,
      )
      if (line)
        return { uri: line[2], signedBy: /signed-by=(\S+)/.exec(line[1] ?? '')?.[1] ?? KEYRING }
    }
  }
  return undefined
}

function machinesSource() {
  const mirror = process.env.DIRTYRATE_RIG_MIRROR
  if (mirror) return { uri: mirror, signedBy: KEYRING }
  const release = readFileSync('/etc/os-release', 'utf8')
  const codename = /^VERSION_CODENAME="?([^"\n]+)/m.exec(release)?.[1]
  const folder = '/etc/apt/sources.list.d'
  const paths = [
    '/etc/apt/sources.list',
    ...(existsSync(folder) ? readdirSync(folder).map(name => join(folder, name)) : []),
  ].filter(path => /\.(list|sources)$/.test(path) && existsSync(path))
  const files = paths.map(name => ({ name, text: readFileSync(name, 'utf8') }))
  const source = /^ID=debian$/m.test(release) ? sourceOf(codename, files) : undefined
  if (source === undefined) {
    throw new Error(
      `this machine has no Debian source: set DIRTYRATE_RIG_MIRROR to the address of a Debian mirror, whose key is in ${KEYRING}`,
    )
  }
  return source
}

/** A suite of Debian's for an architecture. */
export class Suite {
  #folder
  #options

  constructor(suite, architecture) {
    this.suite = suite
    this.architecture = architecture
    this.#folder = join(cache, `${suite}-${architecture}`)
    const apt = join(this.#folder, 'apt')
    this.#options = [
      ...[
        '-q',
        '-o',
        `APT::Architecture=${architecture}`,
        '-o',
        `APT::Architectures=${architecture}`,
      ],
      ...[
        '-o',
        `Dir::Etc::SourceList=${join(apt, 'debian.sources')}`,
        '-o',
        'Dir::Etc::SourceParts=/dev/null',
      ],
      ...['-o', `Dir::State=${apt}`, '-o', `Dir::State::status=${join(apt, 'status')}`],
      ...['-o', `Dir::Cache=${apt}`, '-o', 'Acquire::Languages=none', '-o', 'Acquire::Retries=3'],
      // Root's downloads are another user's otherwise, who may not write here.
      ...['-o', 'APT::Sandbox::User=root'],
    ]
  }

  #update() {
    const apt = join(this.#folder, 'apt')
    if (existsSync(join(apt, 'updated'))) return
    const { uri, signedBy } = machinesSource()
    for (const part of ['lists/partial', 'archives/partial'])
      mkdirSync(join(apt, part), { recursive: true })
    writeFileSync(join(apt, 'status'), '')
    writeFileSync(
      join(apt, 'debian.sources'),
      `Types: deb\nURIs: ${uri}\nSuites: ${this.suite}\nComponents: main\nSigned-By: ${signedBy}\n`,
    )
    output('apt-get', [...this.#options, '--error-on=any', 'update'])
    writeFileSync(join(apt, 'updated'), '')
  }

  /** What apt knows of a package. */
  #show(name) {
    this.#update()
    return (
      stanzas(output('apt-cache', [...this.#options, '--no-all-versions', 'show', name]))[0] ?? {}
    )
  }

  /**
   * `name` and those that it needs of its very version: the parts that one source was split into.
   */
  parts(name, seen = new Set()) {
    seen.add(name)
    const depends = this.#show(name).Depends ?? ''
    for (const [, part] of depends.matchAll(/(?:^|, )([^\s,|]+) \(= [^)]*\)(?=,|$)/g)) {
      if (!seen.has(part)) this.parts(part, seen)
    }
    return [...seen]
  }

  /** The folder that a package, and with it what {@link parts} lists, is unpacked in. */
  unpacked(name) {
    const folder = join(this.#folder, name)
    if (existsSync(folder)) return folder
    const names = this.parts(name)
    const partial = `${folder}.partial`
    rmSync(partial, { recursive: true, force: true })
    const debs = join(partial, 'debs')
    mkdirSync(debs, { recursive: true })
    output('apt-get', [...this.#options, 'download', ...names], { cwd: debs })
    for (const deb of readdirSync(debs)) output('dpkg', ['-x', join(debs, deb), partial])
    rmSync(debs, { recursive: true })
    // Only what is whole gets the name.
    renameSync(partial, folder)
    return folder
  }
}

/** The paths of the files below `folder` whose path matches. */
export function filesIn(folder, pattern) {
  return readdirSync(folder, { recursive: true })
    .filter(path => pattern.test(path))
    .map(path => join(folder, path))
}
