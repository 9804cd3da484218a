/** Reads the texts of `/proc/PID/maps` and `/proc/PID/smaps`. It reads no file. */

/** A mapping of a process. Addresses are numbers, because they are below 2^53 on all machines. */
export interface Mapping {
  readonly start: number
  readonly end: number
  readonly bytes: number
  /** As in the text: `rw-p`, `---p`, `rw-s`. */
  readonly permissions: string
  /** 0 for anonymous memory. */
  readonly inode: number
  /** A path, or a name such as `[heap]`; empty for anonymous memory without a name. */
  readonly path: string
  /** The words of `VmFlags`: `dc` is MADV_DONTFORK, `dd` MADV_DONTDUMP. Only from smaps. */
  readonly flags: ReadonlySet<string>
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+)\s*(.*)$/
const FLAGS = 'VmFlags:'

/** The mappings in `text`, which is that of maps or of smaps, in the order of their addresses. */
export function parseMaps(text: string): Mapping[] {
  const found: (Mapping & { flags: Set<string> })[] = []
  for (const line of text.split('\n')) {
    const [, from, to, permissions = '', inode, path = ''] = LINE.exec(line) ?? []
    if (from !== undefined && to !== undefined) {
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)]
      // The page of vsyscall lies above every address of user space.
      if (!Number.isSafeInteger(end)) continue
      const bytes = end - start
      found.push({ start, end, bytes, permissions, inode: Number(inode), path, flags: new Set() })
    } else if (line.startsWith(FLAGS)) {
      const last = found.at(-1)
      for (const flag of line.slice(FLAGS.length).trim().split(' ')) last?.flags.add(flag)
    }
  }
  return found
}

/** Whether the process can write the mapping, and does not run it as code. */
export function isData({ permissions }: Mapping): boolean {
  return permissions.startsWith('rw-')
}

/** Whether the mapping is anonymous memory without a name, or with one that a program has given. */
export function isAnonymous({ inode, path }: Mapping): boolean {
  return inode === 0 && (path === '' || path.startsWith('[anon:'))
}

/** Whether a userfaultfd serves or watches the mapping. */
export function isUserfaultfd({ flags }: Mapping): boolean {
  return flags.has('um') || flags.has('uw')
}

/** The addresses of a mapping in the form of `range=`. */
export function formatAddresses({ start, end }: Pick<Mapping, 'start' | 'end'>): string {
  return `0x${start.toString(16)}-0x${end.toString(16)}`
}
