// Breaks of finding the VMs of this host, and of the rights to look at them.

export default [
  {
    name: 'offer the monitor of a domain of libvirt',
    file: 'ts/host/reach.ts',
    find: 'if (vm.libvirt !== undefined) return [libvirtWay(vm, means), process]',
    replace: 'if (vm.libvirt !== undefined) return [...monitorWays(vm), process]',
    test: '__test__/host/virtual-machines.test.ts -t has no way by its monitor',
  },
  {
    name: 'take a monitor that has a client for a free one',
    file: 'ts/host/reach.ts',
    find: 'const busy = same.some(({ listens }) => !listens)',
    replace: 'const busy = same.every(({ listens }) => !listens)',
    test: '__test__/host/virtual-machines.test.ts -t is busy',
  },
  {
    name: 'take a client for a monitor that can be reached',
    file: 'ts/host/qemu-arguments.ts',
    find: "|| server === undefined || server === 'off'",
    replace: '|| server === undefined',
    test: '__test__/host/qemu-arguments.test.ts -t client by name',
  },
  {
    name: 'take a doubled comma for two',
    file: 'ts/host/qemu-arguments.ts',
    find: "parts[parts.length - 1] += ','\n      at++",
    replace: "parts.push('')\n      at++",
    test: '__test__/host/qemu-arguments.test.ts -t single commas',
  },
  {
    name: 'count each file of a vCPU',
    file: 'ts/host/virtual-machines.ts',
    find: 'new Set(ids).size',
    replace: 'ids.length',
    test: '__test__/host/virtual-machines.test.ts -t with its vCPUs',
  },
  {
    name: 'believe that CAP_SYS_PTRACE alone opens the pagemap',
    file: 'ts/host/rights.ts',
    find: "return opensFiles ? 'ptraceAndRead' : 'ptrace'",
    replace: "return 'ptraceAndRead'",
    test: '__test__/host/rights.test.ts',
  },
  {
    name: 'forget that a process may have more capabilities than its reader',
    file: 'ts/host/rights.ts',
    find: "  if (subject.privileged) return 'privileged'\n",
    replace: '',
    test: '__test__/host/rights.test.ts',
  },
  {
    name: "take crosvm's MiB for bytes",
    file: 'ts/host/vmm.ts',
    find: "...size(partOf(of('--mem', '-m'), 'size'), MIB),",
    replace: "...size(partOf(of('--mem', '-m'), 'size')),",
    test: '__test__/host/vmm.test.ts',
  },
  {
    name: 'take a QEMU that libvirt examines for a VM',
    file: 'ts/host/virtual-machines.ts',
    find: 'if (commandLine.qemu?.isProbe === true) return undefined',
    replace: 'if (commandLine.qemu === null) return undefined',
    test: '__test__/host/virtual-machines.test.ts -t only asks what it can do',
  },
]
