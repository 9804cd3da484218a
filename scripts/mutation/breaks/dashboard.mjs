// Breaks of what a dashboard hears: its frames, the history, and those who read it.

const FRAMES = '__test__/dashboard/frames.test.ts'
const HISTORY = '__test__/dashboard/history.test.ts'
const LIVE = '__test__/server/live-sockets.test.ts'
const HUB = '__test__/dashboard/hub.test.ts'

export default [
  {
    name: 'a run of one number may be longer than the memory',
    file: 'ts/dashboard/column.ts',
    find: 'if (end === start || end > length) throw garbled()',
    replace: 'if (end === start) throw garbled()',
    test: `${FRAMES} -t a run that is too long`,
  },
  {
    name: 'cells may be of any number',
    file: 'ts/dashboard/packed-cells.ts',
    find: 'if (cells > MOST_CELLS)',
    replace: 'if (cells < 0)',
    test: `${FRAMES} -t more cells than any map shows`,
  },
  {
    name: 'a figure of a frame may be anything',
    file: 'ts/dashboard/checks.ts',
    find: 'const isNumber: Check = value => Number.isFinite(value)',
    replace: "const isNumber: Check = value => typeof value === 'number'",
    test: `${FRAMES} -t is refused if a figure is not finite`,
  },
  {
    name: 'the history of a dashboard grows',
    file: 'ts/dashboard/history.ts',
    find: 'while (this.#figureBytes > figureBytes)',
    replace: 'while (this.#figureBytes < 0)',
    test: `${HISTORY} -t keeps within its bytes`,
  },
  {
    name: 'the history of a dashboard forgets how a target is',
    file: 'ts/dashboard/history.ts',
    find: 'if (last !== undefined) this.past.push(last)',
    replace: 'this.past.push(last ?? event)',
    test: HISTORY,
  },
  {
    name: 'a dropped event is not said to be dropped',
    file: 'ts/dashboard/history.ts',
    find: 'this.#droppedUpTo = Math.max(this.#droppedUpTo, oldest.seq)',
    replace: 'this.#droppedUpTo = 0',
    test: HISTORY,
  },
  {
    name: 'a slow reader is never skipped ahead',
    file: 'ts/dashboard/reader.ts',
    find: '> this.#limits.behindMs',
    replace: '> Number.POSITIVE_INFINITY',
    test: `${HUB} -t takes nothing`,
  },
  {
    name: 'a slow reader is not told what it misses',
    file: 'ts/dashboard/reader.ts',
    find: "      gap(last, 'slow')\n",
    replace: '',
    test: `${HUB} -t takes nothing`,
  },
  {
    name: 'a reader that comes back is not told what is gone',
    file: 'ts/dashboard/reader.ts',
    find: "gap(droppedUpTo, 'gone')",
    replace: 'this.#missesUpTo = droppedUpTo',
    test: `${HUB} -t comes back too late`,
  },
  {
    name: 'numbers of another run are taken for those of this one',
    file: 'ts/dashboard/hub.ts',
    find: 'position?.run === hello.run && position.after',
    replace: 'position !== undefined && position.after',
    test: `${HUB} -t after another run`,
  },
  {
    name: 'answers for a dashboard pile up',
    file: 'ts/dashboard/reader.ts',
    find: 'if (this.#answers.length > MOST_ANSWERS) this.end()',
    replace: 'if (this.#answers.length < 0) this.end()',
    test: `${HUB} -t no end of them`,
  },
  {
    name: 'a page of any origin may open a WebSocket',
    file: 'ts/server/access.ts',
    find: 'const refusal = refusalOfSite(head, rules)\n  if (refusal !== undefined) return refusal\n  if (head',
    replace: 'if (head',
    test: `${LIVE} -t to a page of another origin`,
  },
  {
    name: 'a WebSocket does not have to say its origin',
    file: 'ts/server/access.ts',
    find: 'if (head.headers.origin === undefined)',
    replace: "if (head.headers.origin === '')",
    test: `${LIVE} -t does not say its origin`,
  },
  {
    name: 'a ticket can be used again and again',
    file: 'ts/server/tickets.ts',
    find: '    this.#ends.delete(digest)\n    return',
    replace: '    return',
    test: `${LIVE} -t with a ticket that was used`,
  },
  {
    name: 'a ticket can be used for ever',
    file: 'ts/server/tickets.ts',
    find: 'end !== undefined && performance.now() < end',
    replace: 'end !== undefined',
    test: `${LIVE} -t with a ticket that was used`,
  },
  {
    name: 'any number of live views may be open',
    file: 'ts/server/live-sockets.ts',
    find: 'this.#server.clients.size >= this.#limits.mostClients',
    replace: 'this.#server.clients.size < 0',
    test: `${LIVE} -t if too many are open`,
  },
  {
    name: 'a live view may ask as often as it likes',
    file: 'ts/server/live-sockets.ts',
    find: 'if (isTooMuch() || isBinary',
    replace: 'if (isBinary',
    test: `${LIVE} -t if it asks too often`,
  },
  {
    name: 'a live view that is gone stays open',
    file: 'ts/server/live-sockets.ts',
    find: 'if (this.#waiting.has(client)) client.terminate()',
    replace: 'if (this.#waiting.has(client)) client.ping()',
    test: `${LIVE} -t does not show that it is there`,
  },
  {
    name: 'a live view may keep its frame waiting for ever',
    file: 'ts/server/live-sockets.ts',
    find: 'setTimeout(() => client.terminate(), this.#limits.sendMs)',
    replace: 'setTimeout(() => {}, this.#limits.sendMs)',
    test: `${LIVE} -t if it takes nothing`,
  },
  {
    name: 'what did not fit on a full disk stays in the recording',
    file: 'ts/cli/recording/write.ts',
    find: '      await this.#file.truncate(this.#size).catch(() => {})\n',
    replace: '',
    test: '__test__/cli/recording.test.ts -t survives a full disk',
  },
]
