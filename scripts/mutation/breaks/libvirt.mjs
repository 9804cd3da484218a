// Breaks of the targets of libvirt: what is asked of virsh, when, and what its answers mean.

export default [
  {
    name: 'round a window to whole seconds',
    file: 'ts/targets/libvirt/by-libvirt.ts',
    find: '!Number.isInteger(seconds) || seconds < 1',
    replace: 'seconds < 1',
    test: '__test__/targets/libvirt/measuring.test.ts -t refuses 1500ms',
  },
  {
    name: 'take a name that begins with a dash for an option of virsh',
    file: 'ts/targets/libvirt/connection.ts',
    find: "[...command, '--', domain, ...further]",
    replace: '[...command, domain, ...further]',
    test: '__test__/targets/libvirt/measuring.test.ts -t that is shut off, or not there',
  },
  {
    name: 'believe a figure of a window in which the domain was paused',
    file: 'ts/targets/libvirt/job-access.ts',
    find: 'if (await pauses.ended()) throw',
    replace: 'if ((await pauses.ended()) && false) throw',
    test: '__test__/targets/libvirt/measuring.test.ts -t with a pause that ends within the window',
  },
  {
    name: 'let virsh run on after an abort',
    file: 'ts/targets/libvirt/virsh.ts',
    find: "signal?.addEventListener('abort', end, { once: true })",
    replace: "signal?.addEventListener('abort', () => {}, { once: true })",
    test: '__test__/targets/libvirt/absent.test.ts -t never answers',
  },
  {
    name: 'wait for virsh without a limit',
    file: 'ts/targets/libvirt/virsh.ts',
    find: '      timedOut = true\n      end()',
    replace: '      timedOut = true',
    test: '__test__/targets/libvirt/absent.test.ts -t never answers',
  },
  {
    name: 'call a domain by the name that XML gives it',
    file: 'ts/targets/libvirt/domain.ts',
    find: 'textOfXml(new RegExp',
    replace: 'String(new RegExp',
    test: '__test__/targets/libvirt/measuring.test.ts -t says what it is',
  },
  {
    name: 'call a domain by the name of its file',
    file: 'ts/targets/qemu/libvirt-files.ts',
    find: '? written : textOfXml(written)',
    replace: '? written : (textOfXml(written), written)',
    test: '__test__/targets/libvirt/measuring.test.ts -t is listed',
  },
  {
    name: 'measure by the monitor unasked',
    file: 'ts/targets/libvirt/scheme.ts',
    find: "parseChoice(monitor, 'monitor', ['yes', 'no']) === 'yes'",
    replace: "parseChoice(monitor, 'monitor', ['yes', 'no']).length > 0",
    test: '__test__/targets/libvirt/measuring.test.ts -t refuses 50ms',
  },
  {
    name: 'start a job while one of ours that was left still runs',
    file: 'ts/targets/qemu/jobs.ts',
    find: '        this.#abandoned = true\n',
    replace: '',
    test: '__test__/targets/libvirt/measuring.test.ts -t is left at once',
  },
  {
    name: 'offer a domain of another host from outside',
    file: 'ts/targets/libvirt/scheme.ts',
    find: '  if (!isLocal(uri)) {',
    replace: '  if (uri === undefined) {',
    test: '__test__/targets/libvirt/absent.test.ts -t of another host',
  },
]
