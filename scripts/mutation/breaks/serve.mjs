// Breaks of `dirtyrate serve`: who gets an answer, what is exported, and when targets are measured.

const ACCESS = '__test__/server/access.test.ts'
const HTTP = '__test__/server/http.test.ts'
const WHOLE_HOST = '__test__/cli/serve/whole-host.test.ts'
const ROUNDS = '__test__/server/rounds.test.ts'
const METRICS = '__test__/metrics/metrics.test.ts'

export default [
  {
    name: 'any token is the right one',
    file: 'ts/server/access.ts',
    find: 'token === undefined || token.isIn(headers.authorization)',
    replace: 'token === undefined || headers.authorization !== undefined',
    test: `${ACCESS} -t needs the token`,
  },
  {
    name: 'a web page may use any name for this host',
    file: 'ts/server/access.ts',
    find: '!hostNames.includes(host.name)',
    replace: 'hostNames.length === 0',
    test: `${ACCESS} -t may not ask for the host`,
  },
  {
    name: 'a page of any origin gets an answer',
    file: 'ts/server/access.ts',
    find: 'originOf(headers.origin) !== host.authority',
    replace: "originOf(headers.origin) === ''",
    test: `${ACCESS} -t may come from a page of the server itself`,
  },
  {
    name: 'the body of a refused request is the next request',
    file: 'ts/server/http.ts',
    find: "{ ...headers, Connection: 'close' }",
    replace: 'headers',
    test: `${HTTP} -t takes nothing in it for a request`,
  },
  {
    name: 'other hosts get answers without a token',
    file: 'ts/cli/serve/access.ts',
    find: 'if (token === undefined && !isLoopback)',
    replace: "if (token === undefined && address === '')",
    test: '__test__/cli/serve.test.ts -t 0.0.0.0:0',
  },
  {
    name: 'a client may keep its answer waiting for ever',
    file: 'ts/server/http.ts',
    find: 'setTimeout(() => response.destroy(), ms)',
    replace: 'setTimeout(() => {}, ms)',
    test: `${HTTP} -t does not read its answer`,
  },
  {
    name: 'a client may ask again and again without reading',
    file: 'ts/server/http.ts',
    find: '    answering.add(socket)\n',
    replace: '',
    test: `${HTTP} -t does not wait for its answers`,
  },
  {
    name: 'each scrape is written anew',
    file: 'ts/server/recent.ts',
    find: 'last !== undefined && performance.now() < last.until',
    replace: 'last !== undefined && last.until < 0',
    test: '__test__/server/recent.test.ts -t is shared',
  },
  {
    name: 'any number of connections is kept',
    file: 'ts/server/http.ts',
    find: '  server.maxConnections = limits.mostConnections\n',
    replace: '',
    test: `${HTTP} -t has no connection beyond the limit`,
  },
  {
    name: 'a target that fails keeps its old figures',
    file: 'ts/metrics/target-series.ts',
    find: '    this.#dropFigures()\n    this.#description = new Map()\n',
    replace: '',
    test: `${METRICS} -t is not there when the target fails`,
  },
  {
    name: 'a counter is what the last window found',
    file: 'ts/metrics/target-series.ts',
    find: '(this.#lasting.get(key)?.value ?? 0) + by',
    replace: 'by',
    test: `${METRICS} -t are what its measurements say`,
  },
  {
    name: 'a VM makes as many series as it says that it has vCPUs',
    file: 'ts/metrics/target-series.ts',
    find: 'const MOST_VCPUS = 512',
    replace: 'const MOST_VCPUS = 2 ** 20',
    test: `${METRICS} -t has no more series`,
  },
  {
    name: 'a label has control characters',
    file: 'ts/metrics/labels.ts',
    find: 'wellFormed(text).replaceAll(UNSHOWABLE, REPLACEMENT)',
    replace: 'wellFormed(text)',
    test: '__test__/metrics/labels.test.ts',
  },
  {
    name: 'two targets have the same label',
    file: 'ts/metrics/labels.ts',
    find: '  if (!taken.has(label)) return label\n',
    replace: '  if (label.length > 0) return label\n',
    test: '__test__/metrics/labels.test.ts -t is no label that another target has',
  },
  {
    name: 'a curve is measured while the next window is',
    file: 'ts/server/rounds.ts',
    find: '    await this.#curve(target, signal)\n',
    replace: '    void this.#curve(target, signal)\n',
    test: `${ROUNDS} -t measure no two things`,
  },
  {
    name: 'a target that fails is tried again at once, and again',
    file: 'ts/server/rounds.ts',
    find: 'everyMs * 2 ** (failures - 1)',
    replace: 'everyMs',
    test: `${ROUNDS} -t more and more rarely`,
  },
  {
    name: 'a VM that migrates is measured',
    file: 'ts/server/rounds.ts',
    find: 'description.migration?.underWay === true',
    replace: 'description.uri === undefined && signal.aborted',
    test: `${ROUNDS} -t follow a VM that migrates`,
  },
  {
    name: 'the budget is not paid for what was spent',
    file: 'ts/server/budget.ts',
    find: 'this.#account + this.#share * passed - cost',
    replace: 'this.#account + this.#share * passed',
    test: '__test__/server/budget.test.ts -t pays for what something else',
  },
  {
    name: 'a clock that was held makes up for it',
    file: 'ts/server/held-clock.ts',
    find: '        this.#stoodMs += Math.max(lateMs, 0)\n',
    replace: '',
    test: '__test__/server/held-clock.test.ts -t keeps what lies between',
  },
  {
    name: 'a VM that two sources lead to is measured twice',
    file: 'ts/host/discovery/discover.ts',
    find: '      seen.add(vm)\n',
    replace: '',
    test: `${WHOLE_HOST} -t are measured while they are there`,
  },
  {
    name: 'the series of a VM that is gone stay',
    file: 'ts/cli/serve/fleet.ts',
    find: '      served.listener.gone()\n',
    replace: '',
    test: `${WHOLE_HOST} -t are measured while they are there`,
  },
  {
    name: 'a configuration that is refused is told as good',
    file: 'ts/cli/serve/host.ts',
    find: '      this.#isReloaded = false\n',
    replace: '',
    test: `${WHOLE_HOST} -t leaves what stays alone`,
  },
  {
    name: 'a target whose options change begins anew',
    file: 'ts/cli/serve/fleet.ts',
    find: 'else if (isOther(served.target, target)) this.#change(served, target)',
    replace:
      'else if (isOther(served.target, target)) {\n        served.listener.gone()\n        void this.#stop(served)\n        this.#begin(target)\n      }',
    test: `${WHOLE_HOST} -t leaves what stays alone`,
  },
  {
    name: 'the file counts more than the command line',
    file: 'ts/cli/serve/config/config.ts',
    find: '.filter(([option]) => !isGiven(option))',
    replace: '.filter(([option]) => option.length > 0)',
    test: '__test__/cli/serve/config.test.ts -t yields to the options',
  },
]
