/** How signals end a command, and what they leave. */

import { spawn } from 'node:child_process'
import { expect, it } from 'vitest'
import { dirtyrate, type Ended, root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'

const guest = `guest:stride,pages=1000,memory=${MEMORY}`
const watching = `watch ${guest} --every 20ms --log-level debug --quiet`
const long = ['calc', guest, '--window', '1h', '--log-level', 'debug']

/** Runs a long measurement, and does something once when its window is open. */
function whileMeasuring(
  act: (kill: (signal: NodeJS.Signals) => void) => void,
  args: readonly string[] = long,
): Promise<Ended> {
  let acted = false
  return dirtyrate(args, {
    onStderr: (text, kill) => {
      if (acted || !text.includes('measurement began')) return
      acted = true
      act(kill)
    },
  })
}

describeKvm('a signal that comes while the command is loaded', () => {
  /** Runs the command as npx does. It sends itself a signal as soon as its entry has run. */
  const early = (signal: NodeJS.Signals, args: readonly string[]): Promise<Ended> => {
    const send = `setImmediate(() => process.kill(process.pid, '${signal}'))`
    const flags = ['--require', folder()('early.cjs', send)]
    return run(process.execPath, [...flags, `${root}/bin/dirtyrate.cjs`, ...args])
  }

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s is reported as later, and ends with %d', async (signal, status) => {
    const text = await early(signal, long)
    expect(text).toMatchObject({ status, signal: null, stdout: '' })
    expect(text.stderr).toMatch(/^dirtyrate: interrupted\n.+\n$/m)
    const json = await early(signal, [...long, '--json'])
    expect(json).toMatchObject({ status, signal: null })
    expect(JSON.parse(json.stdout).error).toMatchObject({
      code: 'ERR_CANCELLED',
      message: 'interrupted',
    })
  })
})

it('SIGHUP that comes while serve --config is loaded does not end it', async () => {
  const file = folder()
  const send = file('early.cjs', "setImmediate(() => process.kill(process.pid, 'SIGHUP'))")
  const args = ['serve', '--config', file('serve.yaml', 'windw: 1s\n')]
  const { status, signal, stderr } = await run(process.execPath, [
    ...['--require', send],
    `${root}/bin/dirtyrate.cjs`,
    ...args,
  ])
  // It has come as far as the mistake in its file.
  expect({ status, signal }, stderr).toEqual({ status: 2, signal: null })
  expect(stderr).toContain("serve.yaml:1:1: 'windw' is not known here")
})

describeKvm('a signal', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s cancels, cleans up and ends with %d', async (signal, status) => {
    const text = await whileMeasuring(kill => kill(signal))
    expect(text).toMatchObject({ status, signal: null, stdout: '' })
    expect(text.stderr).toMatch(
      /\ndirtyrate: interrupted\nThe measurement was cancelled, and what it had opened is closed.\n$/,
    )
    const json = await whileMeasuring(kill => kill(signal), [...long, '--json'])
    expect(json).toMatchObject({ status, signal: null })
    expect(JSON.parse(json.stdout).error).toMatchObject({
      code: 'ERR_CANCELLED',
      message: 'interrupted',
    })
  })

  it('that comes twice at once, as under npx, is one', async () => {
    const { status, stdout } = await whileMeasuring(
      kill => {
        kill('SIGINT')
        setTimeout(kill, 5, 'SIGINT')
      },
      [...long, '--json'],
    )
    expect(status).toBe(130)
    expect(JSON.parse(stdout).error.code).toBe('ERR_CANCELLED')
  })

  it('after another kind of signal ends at once', async () => {
    // Both wait for the process when it goes on, so that there was no time to clean up in between.
    const { status, stdout } = await whileMeasuring(
      kill => {
        kill('SIGSTOP')
        kill('SIGINT')
        kill('SIGTERM')
        kill('SIGCONT')
      },
      [...long, '--json'],
    )
    expect([130, 143]).toContain(status)
    expect(stdout).toBe('')
  })

  it('again, a second later, ends what does not end by itself', async () => {
    const make = folder()
    const bundle = make('interruption.mjs', '')
    // In a process of its own: where the tests name another binding for the package, rolldown would
    // take it for its own.
    const bundled = await run(
      process.execPath,
      [
        `${root}/node_modules/rolldown/bin/cli.mjs`,
        `${root}/ts/cli/interruption.ts`,
        '--file',
        bundle,
        '--platform',
        'node',
      ],
      { env: { NAPI_RS_NATIVE_LIBRARY_PATH: undefined } },
    )
    expect(bundled).toMatchObject({ status: 0 })
    // What never ends by itself.
    const program = make(
      'program.mjs',
      `import { Interruption } from ${JSON.stringify(bundle)}
       const interruption = new Interruption(() => console.log('second'))
       interruption.signal.addEventListener('abort', () => console.error('first', interruption.status))
       setInterval(() => {}, 1000)
       console.error('listening')`,
    )
    const { status, stdout } = await run('bash', [
      '-c',
      `coproc log { exec "$0" "$1" 2>&1 >"$2"; }
       pid=$!
       while IFS= read -r line <&\${log[0]}; do
         [[ $line == listening ]] && kill -INT $pid
         [[ $line == 'first 130' ]] && { kill -INT $pid; sleep 1.2; kill -0 $pid && echo goes on; kill -INT $pid; }
       done
       wait $pid
       status=$?
       cat "$2"
       exit $status`,
      process.execPath,
      program,
      make('out', ''),
    ])
    expect({ status, stdout }).toEqual({ status: 130, stdout: 'goes on\nsecond\n' })
  })

  it('of Ctrl-C under npx is one, too', async () => {
    // The parent is in the same job of the terminal. It passes its signals on to its child, as npm
    // does.
    const parent = `
      const child = require('child_process').spawn(process.execPath, process.argv.slice(1), { stdio: 'inherit' })
      process.on('SIGINT', () => child.kill('SIGINT'))
      child.on('exit', status => process.exit(status))
    `
    const { status, stdout } = await run('bash', [
      '-c',
      `coproc terminal { exec script -qec "exec node -e '$0' dist/cli.js ${long.join(' ')}" /dev/null; }
       pid=$!
       while IFS= read -r line <&\${terminal[0]}; do
         printf '%s\\n' "$line"
         if [[ -z $sent && $line == *'measurement began'* ]]; then sent=yes; printf '\\003' >&\${terminal[1]}; fi
       done
       wait $pid`,
      parent.replaceAll("'", '"'),
    ])
    expect({ status, stdout }).toEqual({
      status: 130,
      stdout: expect.stringContaining('dirtyrate: interrupted\r\n'),
    })
  })

  it('by timeout, which sends it to the child and to its group, is one', async () => {
    const { status, stdout } = await run('bash', [
      '-c',
      `timeout --preserve-status -s INT 2 node dist/cli.js ${long.join(' ')} --json 2>/dev/null`,
    ])
    expect(status).toBe(130)
    expect(JSON.parse(stdout).error.code).toBe('ERR_CANCELLED')
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends a command whose reader has stopped', async (signal, status) => {
    // The pipe is full and nobody empties it, so there is no room for any byte of the result.
    const fifo = `${folder()('x', '')}.fifo`
    const ended = await run('bash', [
      '-c',
      `mkfifo "$1"; exec 3<>"$1"; dd if=/dev/zero bs=4096 count=64 oflag=nonblock of="$1" 2>/dev/null
       coproc log { exec "$0" dist/cli.js calc ${guest} --window 20ms --json --log-level debug 2>&1 >"$1" 3<&-; }
       pid=$!
       while IFS= read -r line <&\${log[0]}; do
         [[ $line == *'measurement done'* ]] && kill -${signal} $pid
       done
       wait $pid`,
      process.execPath,
      fifo,
    ])
    expect(ended.status).toBe(status)
  })

  it('SIGTERM ends a command on a terminal that is not read', async () => {
    // The program that reads the terminal is stopped. So the terminal fills up, and then it blocks
    // a command that writes to it and waits.
    const ended = await run('bash', [
      '-c',
      `out=$1; script -qec 'echo $$ >'"$out"'; exec "'"$0"'" dist/cli.js watch ${guest} --every 1ms --log-level trace' /dev/null >"$out.fifo" &
       script=$!
       exec 3<"$out.fifo"
       while [[ ! -s $out ]]; do sleep 0.1; done
       pid=$(<"$out")
       head -c 20000 <&3 >/dev/null
       kill -STOP $script
       # Filled: for as long as the kernel says that it waits for nothing but events, it has not stopped.
       sleep 2
       kill -TERM $pid
       while kill -0 $pid 2>/dev/null && [[ $(ps -o stat= -p $pid) != Z* ]]; do sleep 0.1; done
       kill -CONT $script
       cat <&3 >/dev/null
       wait $script`.replace('out=$1;', 'out=$1; mkfifo "$out.fifo";'),
      process.execPath,
      folder()('pid', ''),
    ])
    expect(ended.status).toBe(143)
  })

  it.each([
    ['bash', `nohup "$0" dist/cli.js ${watching} & echo $!; wait $!`],
    [
      'another shell',
      `env -u _ nohup "$0" dist/cli.js ${watching} 0> /dev/null & echo $!; wait $!`,
    ],
    ['a shell under nohup', `nohup bash -c '"$0" dist/cli.js ${watching} & echo $!; wait $!' "$0"`],
  ])('SIGHUP does not end what nohup started from %s', async (_, start) => {
    const { status, stdout } = await run('bash', [
      '-c',
      // Bash says who starts a program; a shell that does not leaves what nohup does to a terminal.
      `coproc log { { ${start}; } 2>&1; }
       read -r pid <&\${log[0]}
       count=0
       while IFS= read -r line <&\${log[0]}; do
         [[ $line == *'measurement done'* ]] && count=$((count + 1))
         [[ $line == *'measurement done'* && $count == 2 ]] && kill -HUP $pid
         [[ $line == *'measurement done'* && $count == 9 ]] && kill -TERM $pid
       done
       echo $count`,
      process.execPath,
    ])
    expect(status).toBe(0)
    expect(Number(stdout)).toBeGreaterThanOrEqual(9)
  })

  it('SIGHUP of a terminal that is gone ends with 129 all the same', async () => {
    const make = folder()
    const [status, log] = [make('status', ''), make('log', '')]
    // The shell between stays, to tell how the command ended.
    const inside = make(
      'inside.sh',
      `trap : HUP; node dist/cli.js watch ${guest} --every 20ms --quiet; echo $? >${status}`,
    )
    const ended = await run('bash', [
      '-c',
      `script -qfec 'bash ${inside}' /dev/null >${log} &
       while [[ ! -s ${log} ]]; do sleep 0.05; done
       kill -KILL $!
       while [[ ! -s ${status} ]]; do sleep 0.05; done
       cat ${status}`,
    ])
    expect(ended.stdout).toBe('129\n')
  })

  it('SIGTSTP stops a watch, and SIGCONT lets it go on', async () => {
    // A group of its own with a parent in another one: the kernel stops no process of an orphaned
    // group, as CI's may be.
    const stopped = `import os, signal, subprocess, sys
out, *command = sys.argv[1:]
own_group = lambda: os.setpgid(0, 0)
with open(out, 'wb') as file:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, preexec_fn=own_group)
    for line in child.stderr:
        if b'measurement done' in line and b'id=2' in line:
            os.kill(child.pid, signal.SIGTSTP)
            os.waitpid(child.pid, os.WUNTRACED)
            os.kill(child.pid, signal.SIGCONT)
    status = child.wait()
sys.stdout.write(open(out).read())
sys.exit(status)`
    const watch = `${root}/dist/cli.js watch ${guest} --every 20ms --count 6 --log-level debug`
    const { status, stdout } = await run('timeout', [
      ...['30', 'python3', '-c', stopped, folder()('out', ''), process.execPath],
      ...watch.split(' '),
    ])
    expect(status).toBe(0)
    expect(stdout.trimEnd().split('\n')).toHaveLength(6)
  })
})

describeKvm('npm start', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('passes %s on to the demo, and ends as the demo does', async (signal, status) => {
    const child = spawn(
      process.execPath,
      [
        `${root}/scripts/start.mjs`,
        '--pages',
        '1000',
        '--memory',
        MEMORY,
        '--window',
        '1h',
        '--log-level',
        'debug',
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const began = stderr.includes('measurement began')
      stderr += text
      if (!began && stderr.includes('measurement began')) child.kill(signal)
    })
    const ended = await new Promise(resolve => child.on('close', resolve))
    expect(ended).toBe(status)
    expect(stderr).toContain('dirtyrate: interrupted\n')
  })
})
