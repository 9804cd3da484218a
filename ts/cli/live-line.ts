/** The last line on a terminal, which is written over again and again. */

import type { Output } from './output.js'
import { canOverwrite, columnsOf } from './terminal.js'
import { widthOf } from './text.js'

const ERASE = '\r\x1b[K'

export class LiveLine {
  readonly #output: Output
  /** Makes the line as short as the number of columns demands, if that is possible. */
  #draw: ((columns: number) => string) | undefined
  #width = 0
  /**
   * If the terminal became narrower, it may have wrapped the line, and then the line cannot be
   * written over. So the old line is left as it is, and a new one begins below it.
   */
  readonly #resized = (): void => {
    if (this.#draw === undefined || this.#width < this.#output.stream.columns) return
    this.#output.write('\n')
    this.redraw()
  }
  /** After a stop, a shell has written where the line was, so the line is shown again. */
  readonly #continued = (): void => this.redraw()

  constructor(output: Output) {
    this.#output = output
    output.stream.on('resize', this.#resized)
    process.on('SIGCONT', this.#continued)
  }

  /** Stops listening to the terminal. */
  stop(): void {
    this.#output.stream.off('resize', this.#resized)
    process.off('SIGCONT', this.#continued)
  }

  /**
   * Shows the line in place of the one before. Returns false, and shows nothing, if the line could
   * not be written over later.
   */
  show(draw: (columns: number) => string): boolean {
    const { stream } = this.#output
    if (!canOverwrite(stream)) {
      // What stands there now may be the text of a shell.
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

  /** Shows the line again, after something else was written in its place. */
  redraw(): void {
    if (this.#draw !== undefined) this.show(this.#draw)
  }

  /** Removes the line until {@link redraw} shows it again. */
  hide(): void {
    if (this.#draw !== undefined) this.#output.write(ERASE)
  }

  /** Removes the line for good. */
  clear(): void {
    this.hide()
    this.#draw = undefined
  }

  /** Leaves the line on the screen. The next text goes below it. */
  end(): void {
    if (this.#draw !== undefined) this.#output.write('\n')
    this.#draw = undefined
  }
}
