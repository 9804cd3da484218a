// Breaks of the facade's pure files, which need no KVM: units, arguments, windows, modes, the
// history, the schedule of a watch.

export default [
  {
    name: 'a bare number has the unit that it most likely has',
    file: 'ts/ground/units.ts',
    find: "  if (written === '') {",
    replace: "  if (written === '' && kind.noun !== 'a duration') {",
    test: '__test__/ground/units.test.ts',
  },
  {
    name: 'the deadlines of a watch are as late as its consumer',
    file: 'ts/measurement/schedule.ts',
    find: 'return multiple * this.#everyMs - this.#opened',
    replace: 'return multiple * this.#everyMs - now',
    test: '__test__/measurement/schedule.test.ts -t has deadlines at multiples',
  },
  {
    name: 'a history keeps everything',
    file: 'ts/measurement/history.ts',
    find: 'if (this.#entries.length > this.#size) this.#entries.shift()',
    replace: '',
    test: '__test__/measurement/history.test.ts',
  },
  {
    name: 'an order of calls keeps what each call resolved with',
    file: 'ts/ground/call-order.ts',
    find: 'done.catch(() => undefined)]).then(() => undefined)',
    replace: 'done.catch(() => undefined)])',
    test: '__test__/ground/call-order.test.ts -t keeps nothing',
  },
  {
    name: 'a call that throws at once leaves its promise open',
    file: 'ts/ground/call-order.ts',
    find: 'turn.then(atTurn).then(resolve, reject)',
    replace: 'turn.then(atTurn).then(resolve)',
    test: '__test__/ground/call-order.test.ts -t rejects with what a call throws at once',
  },
  {
    name: 'an empty word is like an empty name',
    file: 'ts/ground/suggest.ts',
    find: ' && slips < Math.min(wanted.length, plain(name).length)',
    replace: '',
    test: '__test__/ground/hints.test.ts -t nothing is like an empty word',
  },
  {
    name: 'a curve has any number of windows',
    file: 'ts/measurement/windows.ts',
    find: 'windows.length > MOST_WINDOWS',
    replace: 'windows.length < 0',
    test: '__test__/measurement/window-arguments.test.ts -t at most 1000',
  },
  {
    name: 'a hole is no window',
    file: 'ts/measurement/windows.ts',
    find: 'Array.from(windows, (window, at) =>',
    replace: 'windows.map((window, at) =>',
    test: '__test__/measurement/window-arguments.test.ts -t none of them is missing',
  },
  {
    name: 'each window of a curve adds up all windows before it',
    file: 'ts/targets/vm/five-steps.ts',
    find: 'cost = withDeadline(cost, report)',
    replace:
      'cost = reports.slice(0, reports.indexOf(report) + 1).reduce(withDeadline, costOfOpening(vm, opening))',
    test: '__test__/measurement/figures.test.ts -t each report is read as often',
  },
  {
    name: 'a unit is proposed for any other letter',
    file: 'ts/ground/likely-unit.ts',
    find: 'closest(written, similar)',
    replace: 'closest(written, known)',
    test: '__test__/ground/likely-unit.test.ts',
  },
  {
    name: 'nobody is told the largest number',
    file: 'ts/ground/arguments.ts',
    find: ' && !(value > high)',
    replace: '',
    test: '__test__/ground/units.test.ts',
  },
  {
    name: 'a Greek mu is no micro',
    file: 'ts/ground/units.ts',
    find: ".replace('\\u03bc', '\\u00b5')",
    replace: '',
    test: '__test__/ground/units.test.ts',
  },
  {
    name: 'parentheses fill the stack',
    file: 'ts/qapi/hmp-expression.ts',
    find: 'this.#nested === MOST_NESTED',
    replace: 'this.#nested < 0',
    test: '__test__/qapi/hmp-expression.test.ts',
  },
  {
    name: 'parentheses that are closed stay open',
    file: 'ts/qapi/hmp-expression.ts',
    find: '    this.#nested--\n',
    replace: '',
    test: '__test__/qapi/hmp-expression.test.ts -t is read',
  },
]
