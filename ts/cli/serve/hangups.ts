/**
 * SIGHUP for `serve --config`. It never ends the server, also while this starts: what came before
 * somebody listened is told as soon as somebody does.
 */

import type { Session } from '../session.js'

export class Hangups {
  #listener: (() => void) | undefined
  #hasCome = false

  constructor(session: Pick<Session, 'onHangup'>) {
    session.onHangup(() => {
      this.#hasCome = true
      this.#listener?.()
    })
  }

  listen(listener: () => void): void {
    this.#listener = listener
    if (this.#hasCome) listener()
  }
}
