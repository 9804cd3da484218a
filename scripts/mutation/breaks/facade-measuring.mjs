// Breaks of what the facade decides about measurements on a real VM: the rounds of a watch, the events, QEMU's job, the clients.

export default [
  {
    name: 'calls of next() overlap',
    file: 'ts/measurement/watch.ts',
    find: 'const next = this.#turn.then(() => this.#next())',
    replace: 'const next = this.#next()',
    test: '__test__/measurement/watch.test.ts -t one after the other',
  },
  {
    name: 'a watch that is left goes on until its round is over',
    file: 'ts/measurement/watch.ts',
    find: 'this.#entered?.interruption.interrupt(\n      new DirtyRateError(',
    replace: 'void String(\n      new DirtyRateError(',
    test: '__test__/measurement/watch.test.ts -t ends within its round',
  },
  {
    name: 'an abort between two rounds waits for the next one',
    file: 'ts/measurement/watch.ts',
    find: 'const onInterrupt = (): void => void this.#cleanUp().then(cleanedUp)',
    replace: 'const onInterrupt = (): void => cleanedUp()',
    test: '__test__/measurement/watch.test.ts -t cleans up: abort between',
  },
  {
    name: 'a slow consumer gets a queue of windows',
    file: 'ts/measurement/watch.ts',
    find: 'const now = Math.max(this.#opened, this.#now() - this.#start)',
    replace: 'const now = this.#opened',
    test: '__test__/measurement/schedule.test.ts -t has deadlines at multiples',
  },
  {
    name: 'an incomplete result is reported as done',
    file: 'ts/measurement/meter.ts',
    find: "this.events.emit(result.complete ? 'done' : 'incomplete', { ...begun, result })",
    replace: "this.events.emit('done', { ...begun, result })",
    test: '__test__/targets/vm/dirty-ring.test.ts',
  },
  {
    name: 'a second job begins beside the first',
    file: 'ts/qapi/dirty-rate-job.ts',
    find: 'if (this.measuring) throw new QapiError(',
    replace: 'if (false) throw new QapiError(',
    test: '__test__/qapi/dirty-rate-job.test.ts',
  },
  {
    name: 'a failed job is measured',
    file: 'ts/qapi/dirty-rate-job.ts',
    find: '        this.#enter(UNSTARTED)\n        this.#failure = error\n',
    replace: '        this.#enter(UNSTARTED)\n        void error\n',
    test: '__test__/qapi/dirty-rate-job.test.ts',
  },
  {
    name: "a measurement takes the user's own client",
    file: 'ts/targets/vm/client.ts',
    find: "      if (this.#holder !== 'nobody') return accumulator(this.#vm)\n",
    replace: '',
    test: '__test__/measurement/beside.test.ts',
  },
  {
    name: "the monitor's second is a millisecond",
    file: 'ts/qapi/hmp.ts',
    find: "    'calc-time': seconds,\n",
    replace: "    'calc-time': seconds,\n    'calc-time-unit': 'millisecond',\n",
    test: '__test__/qapi/golden.test.ts',
  },
]
