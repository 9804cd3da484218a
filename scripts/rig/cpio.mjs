// An initrd: a cpio archive in the "newc" form (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).

import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'

const FOLDER = 0o040755
const FILE = 0o100644
const PROGRAM = 0o100755
const LINK = 0o120777
const CHARACTER_DEVICE = 0o020600

/** Zeros up to the next multiple of four. */
const padding = length => Buffer.alloc(-length & 3)

export class Cpio {
  #pieces = []
  #names = new Set()

  #add(name, mode, bytes, [major, minor] = [0, 0]) {
    const number = value => value.toString(16).padStart(8, '0')
    const inode = this.#names.size
    const header = [
      '070701',
      inode,
      mode,
      0,
      0,
      1,
      0,
      bytes.length,
      0,
      0,
      major,
      minor,
      name.length + 1,
      0,
    ]
    const text = `${header.map(field => (typeof field === 'number' ? number(field) : field)).join('')}${name}\0`
    this.#pieces.push(
      Buffer.from(text, 'latin1'),
      padding(text.length),
      bytes,
      padding(bytes.length),
    )
  }

  /** The folder, and those that it is in. */
  folder(name) {
    if (name === '.' || this.#names.has(name)) return
    this.folder(dirname(name))
    this.#names.add(name)
    this.#add(name, FOLDER, Buffer.alloc(0))
  }

  #entry(name, mode, bytes) {
    if (this.#names.has(name)) throw new Error(`${name} is in the initrd already`)
    this.folder(dirname(name))
    this.#names.add(name)
    this.#add(name, mode, bytes)
  }

  file(name, bytes) {
    this.#entry(name, FILE, Buffer.from(bytes))
  }

  program(name, bytes) {
    this.#entry(name, PROGRAM, Buffer.from(bytes))
  }

  link(name, target) {
    this.#entry(name, LINK, Buffer.from(target))
  }

  /** A character device. */
  device(name, major, minor) {
    this.folder(dirname(name))
    this.#names.add(name)
    this.#add(name, CHARACTER_DEVICE, Buffer.alloc(0), [major, minor])
  }

  /**
   * A file or a whole folder of the machine's, as it is; `wanted` is asked about each path in it.
   */
  copy(name, path, wanted = () => true) {
    const stat = lstatSync(path)
    if (stat.isSymbolicLink()) this.link(name, readlinkSync(path))
    else if (stat.isDirectory()) {
      this.folder(name)
      for (const child of readdirSync(path).sort()) {
        const below = join(path, child)
        if (wanted(below)) this.copy(join(name, child), below, wanted)
      }
    } else this.#entry(name, stat.mode & 0o111 ? PROGRAM : FILE, readFileSync(path))
  }

  /** The whole archive. */
  archive() {
    this.#add('TRAILER!!!', 0, Buffer.alloc(0))
    return Buffer.concat(this.#pieces)
  }
}
