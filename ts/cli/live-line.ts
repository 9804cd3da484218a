/** The last line of a terminal, which the next one is written over. */

import type { Output } from './output.js'
import { canOverwrite, columnsOf } from './terminal.js'
import { widthOf } from './text.js'

const ERASE = '\r\x1b[K'

export class LiveLine {
  readonly #output: Output
  /** The line, as short as so many columns demand and it can be. */
  #draw: ((columns: number) => string) | undefined
  #width = 0
  /** A terminal that became narrower may have wrapped the line, and then could not write over it: it stays whole, above. */
  readonly #resized = (): void => {
    if (this.#draw === undefined || this.#width < this.#output.stream.columns) return
    this.#output.write('\n')
    this.redraw()
  }
  /** What a shell wrote meanwhile stands where the line was. */
  readonly #continued = (): void => this.redraw()

  constructor(output: Output) {
    this.#output = output
    output.stream.on('resize', this.#resized)
    process.on('SIGCONT', this.#continued)
  }

  /** Listens to the terminal no longer. */
  stop(): void {
    this.#output.stream.off('resize', this.#resized)
    process.off('SIGCONT', this.#continued)
  }

  /** Shows the line over the one before; false: it cannot be written over later, and is not shown. */
  show(draw: (columns: number) => string): boolean {
    const { stream } = this.#output
    if (!canOverwrite(stream)) {
      // What stands there now may be a shell's.
      this.#draw = undefined
      return false
    }
    // A line that reaches the last column may have wrapped.
    const columns = (columnsOf(stream) ?? 0) - 1
    const line = draw(columns)
    if (widthOf(line) > columns) {
      this.clear()
      return false
    }
    this.#output.write(`${ERASE}${line}`)
    this.#draw = draw
    this.#width = widthOf(line)
    return true
  }

  /** Shows it again, after something else was written where it stood. */
  redraw(): void {
    if (this.#draw !== undefined) this.show(this.#draw)
  }

  /** Takes it away, to be shown again by {@link redraw}. */
  hide(): void {
    if (this.#draw !== undefined) this.#output.write(ERASE)
  }

  /** Takes it away for good. */
  clear(): void {
    this.hide()
    this.#draw = undefined
  }

  /** Leaves it as a line of its own. */
  end(): void {
    if (this.#draw !== undefined) this.#output.write('\n')
    this.#draw = undefined
  }
}
